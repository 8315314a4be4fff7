package sidecar

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"jsonguard/internal/vfs"
)

// A commit record says what the last fold applied and from which version to which. It is written, and on disk,
// before the target changes, so that whoever comes next can tell from the target and the temporary file
// whether the change happened. Two files are written in turn: a torn one leaves its neighbour valid.
type commit struct {
	Generation uint64     `json:"generation"`
	Kind       string     `json:"kind"`
	Before     watermarks `json:"before"` // valid if the step did not happen
	After      watermarks `json:"after"`  // valid if it did

	MovedBefore moved `json:"moved_before,omitempty"` // goes with Before
	MovedAfter  moved `json:"moved_after,omitempty"`  // goes with After

	Temp     string     `json:"temp,omitempty"`
	From     identity   `json:"from"`
	To       identity   `json:"to"`
	Block    []byte     `json:"block,omitempty"` // kindAppend: the lines
	Rejected []Rejected `json:"rejected,omitempty"`

	raw []byte // as it was read
}

// initial: it was written when the guard directory was made, and no fold came yet.
func (c *commit) initial() bool { return c.Kind == kindNone && c.To == identity{} }

const (
	kindNone      = "none"      // only the watermarks move
	kindReplace   = "replace"   // the temporary file is renamed over the target
	kindOverwrite = "overwrite" // redo: the target is overwritten from the temporary file (bind-mounted single file)
	kindAppend    = "append"    // JSON Lines: the block is appended in place
)

// watermarks: sidecar id → the last seq that is in the target (or in quarantine).
type watermarks map[string]uint64

// identity tells one version of the target from another.
type identity struct {
	Missing bool   `json:"missing,omitempty"`
	Inode   uint64 `json:"inode,omitempty"`
	Size    int64  `json:"size,omitempty"`
	MTime   int64  `json:"mtime,omitempty"` // ns since 1970
	Hash    string `json:"hash,omitempty"`  // contentHash of the bytes
}

func identify(info vfs.Info, hash string) identity {
	return identity{Inode: info.Inode, Size: info.Size, MTime: info.MTime.UnixNano(), Hash: hash}
}

// sameFile: the very file, unchanged by its metadata.
func (a identity) sameFile(b identity) bool {
	sameTime := a.MTime == b.MTime || a.MTime == 0 || b.MTime == 0 // 0: written ahead of an append
	return !a.Missing && !b.Missing && a.Inode == b.Inode && a.Size == b.Size && sameTime
}

// same: the same file, or the same content in another one (a target that was copied together with its guard
// has new inodes).
func (a identity) same(b identity) bool {
	if a.Missing || b.Missing {
		return a.Missing == b.Missing
	}
	return a.sameFile(b) || a.Size == b.Size && a.Hash != "" && a.Hash == b.Hash
}

// castagnoli is made when it is needed: 0.2 ms are a tenth of what a verb takes that needs none.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// hasher is CRC-32C and CRC-32 (IEEE) side by side: 64 bits that both have instructions for on amd64 and
// arm64, and that can be carried on when a file grows. It tells versions apart; it is no defence against an
// author of collisions, who could write the target anyway.
type hasher struct{ c, ieee uint32 }

func (h *hasher) add(p []byte) {
	h.c = crc32.Update(h.c, castagnoli(), p)
	h.ieee = crc32.Update(h.ieee, crc32.IEEETable, p)
}

func (h *hasher) String() string { return fmt.Sprintf("%08x%08x", h.c, h.ieee) }

func contentHash(p []byte) string {
	var h hasher
	h.add(p)
	return h.String()
}

// resumeHash continues a hash that was printed by String.
func resumeHash(s string) (hasher, bool) {
	v, err := strconv.ParseUint(s, 16, 64)
	return hasher{uint32(v >> 32), uint32(v)}, err == nil && len(s) == 16
}

// sealed appends a CRC-32C to one line of JSON, as its last member, and a newline. object must end in '}'.
func sealed(object []byte) []byte {
	object = object[:len(object)-1]
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(object, castagnoli()))
	return append(hex.AppendEncode(append(object, `,"crc":"`...), sum[:]), "\"}\n"...)
}

// sealSize is the length of what sealed adds in front of the newline, less the brace it replaces.
const sealSize = len(`,"crc":"00000000"}`)

// unsealed checks a line (without its newline) and returns the object as it was before sealed.
func unsealed(line []byte) ([]byte, bool) {
	body, ok := checked(line)
	if !ok {
		return nil, false
	}
	return append(bytes.Clone(body), '}'), true
}

// checked is unsealed, less the brace at the end.
func checked(line []byte) ([]byte, bool) {
	n := len(line) - sealSize
	if n < 1 || string(line[n:n+8]) != `,"crc":"` || string(line[n+16:]) != `"}` {
		return nil, false
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], line[n+8:n+16]); err != nil || crc32.Checksum(line[:n], castagnoli()) != binary.BigEndian.Uint32(sum[:]) {
		return nil, false
	}
	return line[:n], true
}

func commitName(generation uint64) string { return "commit." + strconv.FormatUint(generation%2, 10) }

const settledName = "settled"

// newestCommit reads both records. None valid is ErrDamaged: a guard directory that has pending/ had them before.
func (s *store) newestCommit() (*commit, error) {
	var newest *commit
	missing := 0
	for _, name := range []string{"commit.0", "commit.1"} {
		raw, err := readFile(s.guard, name)
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		if err != nil {
			return nil, err
		}
		c := parseCommit(raw)
		if c != nil && (newest == nil || c.Generation > newest.Generation) {
			newest = c
		}
	}
	switch {
	case newest != nil:
		return newest, nil
	case missing == 2:
		return nil, fmt.Errorf("%w: no commit record in a guard that was used", ErrDamaged)
	default:
		return nil, fmt.Errorf("%w: no valid commit record", ErrDamaged)
	}
}

func parseCommit(raw []byte) *commit {
	line, ok := bytes.CutSuffix(raw, []byte("\n"))
	if !ok {
		return nil
	}
	object, ok := unsealed(line)
	if !ok {
		return nil
	}
	c := commit{raw: raw}
	if json.Unmarshal(object, &c) != nil {
		return nil
	}
	return &c
}

// writeCommit writes the record over the older one and syncs it.
func (s *store) writeCommit(c *commit) error {
	object, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.overwrite(commitName(c.Generation), sealed(object), true)
}

// resyncCommit puts a record on disk that was read and may be in memory only. Its writer's fsync may have failed, which
// leaves the pages clean (https://lwn.net/Articles/752063/): the same bytes are written again, in place, so that this
// fsync has something to do.
func (s *store) resyncCommit(c *commit) error {
	f, err := s.guard.OpenFile(commitName(c.Generation), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = writeWhole(f, c.raw, 0); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// settledHint is what settled holds: the last generation known durable, and what is in the target with it. A process
// that waits for its change looks here, and never into a record that may not have happened.
type settledHint struct {
	Generation uint64     `json:"generation"`
	After      watermarks `json:"after"`
}

// settledHint reads settled. Nobody syncs it: anything unreadable, or caught in the middle of being written, counts as
// nothing.
func (s *store) settledHint() settledHint {
	raw, err := readFile(s.guard, settledName)
	if err != nil {
		return settledHint{}
	}
	object, ok := unsealed(bytes.TrimSuffix(raw, []byte("\n")))
	if !ok {
		return settledHint{}
	}
	var hint settledHint
	if json.Unmarshal(object, &hint) != nil {
		return settledHint{}
	}
	return hint
}

func (s *store) readSettled() uint64 { return s.settledHint().Generation }

// writeSettled comes after the change is on disk: that it fails (a full disk) must not make a change look as if it had
// not been done, and somebody do it again.
func (s *store) writeSettled(c *commit, sync bool) error {
	object, err := json.Marshal(settledHint{c.Generation, c.After})
	if err != nil {
		return err
	}
	err = s.overwrite(settledName, sealed(object), sync)
	s.board.nextTurn()
	if err != nil && sync {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return nil // the next fold looks for itself
}
