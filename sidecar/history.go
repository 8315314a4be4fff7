package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"jsonguard/internal/vfs"
)

// History is which of the versions that folds replace are kept.
type History struct {
	Keep int           // versions; 0: 50
	For  time.Duration // since they were replaced; 0: for ever
	Size int64         // bytes, all together; the newest is kept whatever its size; 0: no bound
}

// Keeps is which versions are kept, as far as this Guard has looked at the policy; nil: none. It must not be changed.
func (g *Guard) Keeps() *History { return g.history.Load() }

// defaultKeep is how many versions are kept where nobody says how many.
const defaultKeep = 50

func (h *History) keep() int {
	if h.Keep > 0 {
		return h.Keep
	}
	return defaultKeep
}

// Author is a process whose changes a fold brought in.
type Author struct {
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Command string `json:"command"`
	Changes int    `json:"changes"`
}

// A version is kept by a second name: history/<generation>-<time>.json is linked to the target's file before the fold of
// that generation renames another one over the target. Nothing is copied, and nothing is synced: the file was on disk
// when it was published, and a name that a power cut takes is a version that is not kept, never a wrong one. Where a file
// cannot have two names, or is about to be overwritten in place, it is copied. A JSON Lines file that only grows needs
// neither: its versions are beginnings of what is there later.
const (
	historyName  = "history"
	indexName    = "index.jsonl"
	indexNewName = ".index"
	partName     = ".part"
	keptTime     = "20060102T150405.000Z"
)

// kept is a line of the index: a fold, and the version that it replaced.
type kept struct {
	Generation uint64    `json:"generation"` // of the fold
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	From       identity  `json:"from"`
	To         identity  `json:"to"`
	Outside    bool      `json:"outside,omitempty"` // From is not what the fold before left
	By         []Author  `json:"by"`
	Gone       bool      `json:"gone,omitempty"` // a repair found it missing, or took it out
}

// keptName is the file of the version that the fold of a generation replaced. Generations of fixed width sort by name.
func (g *Guard) keptName(generation uint64, at time.Time) string {
	return fmt.Sprintf("%010d-%s%s", generation, at.UTC().Format(keptTime), filepath.Ext(g.name))
}

// keptFile is a name of that kind, taken apart.
type keptFile struct {
	name       string
	generation uint64
	replaced   time.Time
}

func parseKeptName(name string) (keptFile, bool) {
	digits, rest, ok := strings.Cut(name, "-")
	if !ok || len(digits) < 10 || len(rest) < len(keptTime) {
		return keptFile{}, false
	}
	generation, err := strconv.ParseUint(digits, 10, 64)
	at, terr := time.Parse(keptTime, rest[:len(keptTime)])
	return keptFile{name, generation, at}, err == nil && terr == nil
}

// openHistory opens history/, made where it is missing.
func (s *store) openHistory() (vfs.Dir, error) {
	if s.history != nil {
		return s.history, nil
	}
	dir, err := openOrMakeDir(s.guard, historyName, dirPerm(s.perm))
	if err == nil {
		s.history = dir
	}
	return dir, err
}

// keptFiles lists the versions that have a file, oldest first.
func keptFiles(history vfs.Dir) ([]keptFile, error) {
	names, err := history.Names()
	if err != nil {
		return nil, err
	}
	var files []keptFile
	for _, name := range names {
		if f, ok := parseKeptName(name); ok {
			files = append(files, f)
		}
	}
	slices.SortStableFunc(files, func(a, b keptFile) int { return compare(a.generation, b.generation) })
	return files, nil
}

// keepsHistory says whether this fold keeps what it replaces: a restore does, whatever the policy, so that it can be
// undone.
func (f *fold) keepsHistory() bool { return f.g.Keeps() != nil || f.own.restore != nil }

// keepReplaced keeps the version that the fold of record next is about to replace. It comes after the record, which uses
// up the generation, and before the rename: killed in between, the next fold finds that next did not happen, and takes
// the name away again. A version that cannot be kept is no reason to keep a change from the target, but for a restore.
func (f *fold) keepReplaced(next *commit) error {
	if !f.keepsHistory() {
		return nil
	}
	err := f.tryToKeep(next)
	if err != nil && f.own.restore == nil {
		f.g.warn("the version before generation %d is not kept: %v", next.Generation, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep the version that is there: %w", err)
	}
	return nil
}

func (f *fold) tryToKeep(next *commit) error {
	history, err := f.s.openHistory()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	if !f.target.missing && next.Kind != kindAppend {
		if err := f.keepFile(history, next, f.g.keptName(next.Generation, now)); err != nil {
			return err
		}
	}
	if h := f.g.Keeps(); h != nil {
		f.pruneDue = f.pruneDue || h.dueBetween(f.last.Generation, next.Generation, f.target.info.Size)
	}
	return f.noteKept(next, now)
}

// noteKept writes the line of the index.
func (f *fold) noteKept(next *commit, now time.Time) error {
	return appendIndex(f.s.history, f.s, kept{
		Generation: next.Generation, Time: now, Kind: next.Kind, From: next.From, To: next.To,
		Outside: !f.last.initial() && !next.From.same(f.last.To), By: f.authors(),
	})
}

// keepFile gives the target's file another name, or copies it: a file that is overwritten in place, or that has names
// elsewhere through which somebody may write it, does not stay what it is.
func (f *fold) keepFile(history vfs.Dir, next *commit, name string) error {
	own, err := f.s.ownLinks(f.target.info)
	if err != nil {
		return err
	}
	if next.Kind == kindReplace && f.target.info.Links <= 1+own {
		err := f.g.parent.Link(f.g.name, history, name)
		if err == nil {
			f.keptAs, f.linked = name, true
			return nil
		}
		if isMissing(err) { // gone: the look before the rename says so
			return nil
		}
		f.g.warn("%s: versions are copied, they cannot be linked here: %v", f.g.Target(), err)
	}
	return f.keepCopy(history, name)
}

func (f *fold) keepCopy(history vfs.Dir, name string) error {
	content, err := f.target.read()
	if err != nil {
		return err
	}
	// A copy has no other home: without its fsync the name may outlive the content.
	if err := ignoreMissing(history.Remove(partName)); err != nil {
		return err
	}
	if err := writeNew(history, partName, content, f.s.perm); err != nil {
		return err
	}
	f.keptAs, f.linked = name, false
	return history.Rename(partName, name)
}

// keepBeforeOverwrite keeps the version under the generation that the overwrite has, as a file of its own: on disk, or after
// a power cut the name may still be one of the target's.
func (f *fold) keepBeforeOverwrite(next *commit) error {
	if f.keptAs == "" {
		return nil
	}
	history, was, linked := f.s.history, f.keptAs, f.linked
	now := time.Now().UTC()
	name := f.g.keptName(next.Generation, now)
	if linked {
		if err := f.keepCopy(history, name); err != nil {
			return err
		}
		if err := errors.Join(ignoreMissing(history.Remove(was)), history.Sync()); err != nil {
			return err
		}
	} else if err := history.Rename(was, name); err != nil {
		return err
	}
	return f.noteKept(next, now)
}

// authors lists whose changes this fold brings in.
func (f *fold) authors() []Author {
	by := []Author{}
	index := map[string]int{}
	add := func(host string, pid int, command string) {
		const longest = 256 // of a command, in bytes: more than commandLine
		command = strings.ToValidUTF8(command[:min(len(command), longest)], "")
		key := fmt.Sprintf("%s@%d %s", host, pid, command)
		i, known := index[key]
		if !known {
			i = len(by)
			index[key] = i
			by = append(by, Author{Host: host, PID: pid, Command: command})
		}
		by[i].Changes++
	}
	refused := map[change]bool{}
	for _, r := range f.rejected {
		refused[change{r.from.name, r.Seq}] = true
	}
	for _, p := range f.pending {
		if !p.from.stuck && !refused[change{p.from.name, p.Seq}] {
			add(p.from.header.Host, p.from.header.PID, p.from.header.Command)
		}
	}
	if !f.own.empty() && f.ownErr == nil {
		host, _ := os.Hostname()
		add(host, os.Getpid(), f.g.options.Command)
	}
	return by
}

// appendIndex adds a line. The newline stands before it: what a crash left of the line before ends there.
func appendIndex(history vfs.Dir, s *store, k kept) error {
	object, err := json.Marshal(k)
	if err != nil {
		return err
	}
	line := append([]byte{'\n'}, bytes.TrimSuffix(sealed(object), []byte("\n"))...)
	file, err := history.OpenFile(indexName, os.O_RDWR|os.O_APPEND, 0)
	if isMissing(err) {
		file, err = history.OpenFile(indexName, os.O_RDWR|os.O_APPEND|os.O_CREATE, s.perm)
	}
	if err != nil {
		return err
	}
	n, err := file.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// parseIndex returns the lines that are whole, and how many are damaged. One that ends early, or in zeros, was torn by a
// crash or a full disk, and is none.
func parseIndex(raw []byte) (lines []kept, broken int) {
	for text := range bytes.Lines(raw) {
		text = bytes.TrimSuffix(text, []byte("\n"))
		if len(text) == 0 {
			continue
		}
		var k kept
		object, ok := unsealed(text)
		if !ok || json.Unmarshal(object, &k) != nil {
			if n := len(text) - sealSize; n > 0 && bytes.HasPrefix(text[n:], []byte(`,"crc":"`)) && bytes.HasSuffix(text, []byte(`"}`)) {
				broken++
			}
			continue
		}
		if k.Generation > 0 { // else it is the head
			lines = append(lines, k)
		}
	}
	return lines, broken
}

// forgetKept takes the names away that a fold gave which then did not happen: one that was about to overwrite had gone on
// to the next generation.
func (s *store) forgetKept(generation uint64) error {
	files, err := s.keptIfAny()
	if err != nil {
		return err
	}
	for _, f := range slices.Backward(files) {
		if f.generation < generation {
			break
		}
		if err := ignoreMissing(s.history.Remove(f.name)); err != nil {
			return err
		}
	}
	return nil
}

// ownLinks is how many names in history/ a file has: between the two steps of a fold the target has one there.
func (s *store) ownLinks(info vfs.Info) (n uint64, err error) {
	if info.Links < 2 {
		return 0, nil
	}
	files, err := s.keptIfAny()
	if err != nil {
		return 0, err
	}
	for _, f := range slices.Backward(files) {
		there, err := s.history.Stat(f.name)
		if err != nil && !isMissing(err) {
			return 0, err
		}
		if err == nil && there.Inode == info.Inode {
			n++
		}
	}
	return n, nil
}

// OwnLinks is how many names the file at target, of that inode number, has in its guard directory; 0 if that cannot be
// told.
func OwnLinks(target string, inode uint64) uint64 {
	history, err := vfs.OS.OpenDir(filepath.Join(GuardDir(target), historyName))
	if err != nil {
		return 0
	}
	defer history.Close()
	n, _ := (&store{history: history}).ownLinks(vfs.Info{Inode: inode, Links: 2})
	return n
}
