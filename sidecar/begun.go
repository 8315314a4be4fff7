package sidecar

import (
	"bytes"
	"io"

	"jsonguard/merge"
)

// AddsNothing says that what is there of a version of large JSON Lines, whose program pauses, can be seen, without having either in memory, to be no
// more than the beginning of base, changed and with lines left out: as additions, a fold would take nothing of it. False: it cannot be seen.
func (x *Scratch) AddsNothing(version, base *io.SectionReader) bool {
	g := x.s.g
	if g.format != merge.Lines || version.Size() == 0 || base.Size() < Large || !g.Policy().TakesExcerpts() {
		return false
	}
	end := endOfSame(version, base)
	if end == 0 {
		return false
	}
	if _, err := checkWhole(version, g.format); err != nil {
		return false
	}
	found, err := merge.Excerpt([]merge.Text{{ReaderAt: version, Size: version.Size()}, {ReaderAt: io.NewSectionReader(base, 0, end), Size: end}}, g.format, g.Policy())
	if found == nil || err != nil {
		return false
	}
	policy := found.Under(g.Policy())
	change, err := merge.Diff(found.Text(1), found.Text(0), g.format, policy)
	if err != nil {
		return false
	}
	doc, err := merge.Parse(found.Text(1), g.format)
	if err != nil {
		return false
	}
	_, err = doc.Merge(change.AdditionsOnly(), policy)
	return err == nil && found.Fit() && bytes.Equal(doc.Bytes(), found.Text(1))
}

// endOfSame is where the line of base ends that the last one of version is, as near to the same place as there is one; 0: there is none nearby.
func endOfSame(version, base *io.SectionReader) int64 {
	const near = 256 << 10
	at := version.Size()
	tail := make([]byte, min(at, near/8))
	if _, err := version.ReadAt(tail, at-int64(len(tail))); err != nil && err != io.EOF || tail[len(tail)-1] != '\n' {
		return 0
	}
	last := bytes.LastIndexByte(tail[:len(tail)-1], '\n')
	if last < 0 {
		return 0
	}
	line := tail[last:] // with the end of the one in front of it
	from := max(0, at-near)
	around := make([]byte, 2*near)
	n, err := base.ReadAt(around, from)
	if err != nil && err != io.EOF {
		return 0
	}
	nearest, found := int64(2*near), int64(0)
	for i := 0; i < n; {
		next := bytes.Index(around[i:n], line)
		if next < 0 {
			break
		}
		i += next
		end := from + int64(i+len(line))
		if off := max(end-at, at-end); off < nearest {
			nearest, found = off, end
		}
		i++
	}
	return found
}
