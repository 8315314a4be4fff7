package sidecar

import (
	"io"
	"os"
	"runtime"

	"jsonguard/merge"
)

// Large is from how many bytes on a version is not read into memory where there is another way.
const Large = 1 << 20

// tight is from how many bytes on one version at a time is in memory, with what it was made from.
const tight = 4 << 20

// InMemory reads what r, a file most often, holds from its beginning, whatever its offset is.
func InMemory(r io.ReaderAt) ([]byte, error) {
	size, err := sizeOf(r)
	if err != nil {
		return nil, err
	}
	MakeRoom(size)
	return readToEnd(r, size, nil)
}

// sizeOf is that of a file, or of a part of one; 0 where it is not known.
func sizeOf(r io.ReaderAt) (int64, error) {
	switch r := r.(type) {
	case *os.File:
		info, err := r.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	case *io.SectionReader:
		return r.Size(), nil
	}
	return 0, nil
}

// isTight says whether x is to be in memory while it is merged, and no longer. One that is alone is looked at again: see
// versionIn.
func (f *fold) isTight(x *scratchFile) bool {
	return f.g.session != nil && f.g.format == merge.JSON && len(f.pending) > 1 && int64(len(x.content)) >= tight
}

// oneAtATime lets go of the target and of large versions whose turn comes later in this fold: they are read again then. Two of
// them, each with what it was made from, were four times the document beside the target.
func (f *fold) oneAtATime() {
	if len(f.pending) < 2 || f.g.session == nil {
		return
	}
	if !f.target.missing && f.target.info.Size >= tight {
		f.target.content, f.target.loaded = nil, false // it is compared, and its hash made, through a window
	}
	for _, p := range f.pending[1:] {
		if x := p.from.scratch; x != nil && f.isTight(x) {
			x.content = nil
			f.g.session.forget(p.from.name)
		}
	}
}

// makeRoom is MakeRoom for a version of the target.
func (f *fold) makeRoom() {
	if f.g.session != nil {
		MakeRoom(f.target.info.Size)
	}
}

// MakeRoom for a document of size bytes has what was let go of given back first: the collector would else begin with it when it is
// there already, and the most that was ever in use would be a document more. A heap of few large texts is looked through in a
// millisecond.
func MakeRoom(size int64) {
	if size >= tight {
		runtime.GC()
	}
}
