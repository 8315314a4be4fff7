package sidecar

import (
	"errors"
	"os"
	"runtime"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// errDiscarded: its supervisor found since that there is nothing in it.
var errDiscarded = errors.New("scratch file was discarded")

// applyScratch merges what a writer closed.
func (f *fold) applyScratch(p *pendingLine) ([]merge.Conflict, error) {
	x := p.from.scratch
	made := f.g.session.preparedFor(p.from.name)
	if made.change == nil {
		f.makeRoom()
		if err := x.read(); err != nil {
			return nil, err
		}
		base, err := f.g.madeFrom(x.dir, &x.about, x.content)
		if err != nil {
			if _, serr := x.dir.Stat(x.n + scratchSuffix); isMissing(serr) {
				return nil, errDiscarded
			}
			return nil, err
		}
		f.makeRoom() // of what it might have been made from, and was not
		if made, err = f.g.prepareScratch(base, x.content, p.from.made.Additions); err != nil {
			return nil, err
		}
	}
	if f.target.missing && f.doc.Missing() && !made.isNew {
		return nil, errRemoved()
	}
	if f.target.missing && f.maker == nil {
		f.maker = p.from.scratch
	}
	conflicts, err := f.mergeVersion(writerOf(p), made.change)
	if err == nil && f.isTight(x) { // what is refused goes to quarantine
		x.content = nil
		f.g.session.forget(p.from.name)
	}
	return conflicts, err
}

// tight is from how many bytes on one version at a time is in memory, with what it was made from.
const tight = 4 << 20

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

// copyMakersMeta gives a file that is made new the mode and the owner that its maker's had.
func (f *fold) copyMakersMeta(file vfs.File) error {
	made, err := f.maker.dir.OpenFile(f.maker.n+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer made.Close()
	file.CopyMeta(made)
	return nil
}

// appendLines adds the lines of a program that only appends, byte for byte; the last one may lack its end.
func appendLines(block, lines []byte) []byte {
	block = append(block, lines...)
	if n := len(block); n > 0 && block[n-1] != '\n' {
		block = append(block, '\n')
	}
	return block
}

// MakeRoom for a document of size bytes has what was let go of given back first: the collector would else begin with it when it is
// there already, and the most that was ever in use would be a document more. A heap of few large texts is looked through in a
// millisecond.
func MakeRoom(size int64) {
	if size >= tight {
		runtime.GC()
	}
}
