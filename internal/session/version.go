//go:build linux

package session

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// version is one content that processes saw of a target. A file that is only ever replaced by rename does not change
// behind a descriptor.
type version struct {
	stamp stamp
	file  *os.File // nil: content is all there is
	// content is what a program wrote, or nil for a missing file; unused where file is set.
	content []byte
	// live: lines are appended to the file while programs read it. file shares its offset with the descriptor that the
	// reader was given, so that it tells how far it has read.
	live bool

	sidecar string // of what a program wrote
	as      stamp  // of the target that a fold made of it, byte for byte
}

// is says whether the target, as it is stamped, is this version.
func (v *version) is(s stamp) bool { return v.stamp == s || v.as == s && s != stamp{} }

func (v *version) size() int64 {
	if v.file == nil {
		return int64(len(v.content))
	}
	return v.stamp.size
}

// text reads it from the beginning, whatever its descriptor's offset is.
func (v *version) text() io.Reader {
	if v.file == nil {
		return bytes.NewReader(v.content)
	}
	return io.NewSectionReader(v.file, 0, v.stamp.size)
}

// missing is the version of a file that is not there.
var missing = &version{}

// stamp tells one version of the target from another without reading it.
type stamp struct {
	id    intercept.ID
	size  int64
	mtime unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{intercept.ID{Dev: st.Dev, Ino: st.Ino}, st.Size, st.Mtim}
}

// stampAt is that of what has a name now: a fold may have replaced it since it was looked up. What never had one (O_TMPFILE) has none.
func stampAt(p *intercept.Place) stamp {
	var st unix.Stat_t
	if p.Dir == nil {
		if unix.Fstat(int(p.Object.Fd()), &st) != nil {
			return stamp{}
		}
		return stampOf(&st)
	}
	if unix.Fstatat(int(p.Dir.Fd()), p.Name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return stamp{}
	}
	return stampOf(&st)
}

// given is how much of the file a program was given: of one that lines are appended to, what it has read.
func (v *version) given() int64 {
	size := v.stamp.size
	if v.live {
		if at, err := v.file.Seek(0, io.SeekCurrent); err == nil {
			size = max(size, at)
		}
	}
	return size
}

// read returns the content, nil for a missing file and not nil for an empty one.
func (v *version) read() ([]byte, error) {
	if v.file == nil {
		return v.content, nil
	}
	size := v.given()
	sidecar.MakeRoom(size)
	content := make([]byte, size)
	n, err := v.file.ReadAt(content, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return content[:n:n], err
}

// endsWhole says of JSON Lines whether the last one has its end. What is missing of it may be about to come.
func (v *version) endsWhole() bool {
	if v.size() == 0 {
		return true
	}
	if v.file == nil {
		return v.content[len(v.content)-1] == '\n'
	}
	var end [1]byte
	_, err := v.file.ReadAt(end[:], v.stamp.size-1)
	return err != nil || end[0] == '\n'
}

// endsLine says whether a line ends in front of a place.
func endsLine(f *os.File, at int64) bool {
	var end [1]byte
	_, err := f.ReadAt(end[:], at-1)
	return err == nil && end[0] == '\n'
}

// wholeLines is what a program can have made lines of: the last one that it found may be there in part, because another is appending it.
func wholeLines(content []byte) []byte {
	whole := bytes.LastIndexByte(content, '\n') + 1
	if merge.Valid(content[whole:], merge.Lines) == nil {
		return content // it lacks its newline alone, if anything
	}
	return content[:whole]
}

// cutFor is what lines were made from whose program found the last line of v, content, without its newline, which came behind it since. It
// may have taken that for a line, or have left it out as one that is there in part; that it deleted it is not said by what it has not seen.
func (v *version) cutFor(content, ours []byte) []byte {
	whole := bytes.LastIndexByte(content, '\n') + 1
	if !bytes.HasPrefix(ours, content[:whole]) || bytes.HasPrefix(ours, content) {
		return content
	}
	var next [1]byte
	if _, err := v.file.ReadAt(next[:], int64(len(content))); err != nil || next[0] != '\n' {
		return content
	}
	return content[:whole]
}

func (v *version) close() {
	if v.file != nil {
		_ = v.file.Close()
	}
}

// readAll is [sidecar.InMemory] for what a program has written, or reads.
func readAll(f *os.File) ([]byte, error) { return sidecar.InMemory(f) }
