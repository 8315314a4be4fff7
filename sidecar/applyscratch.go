package sidecar

import (
	"errors"
	"os"

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
