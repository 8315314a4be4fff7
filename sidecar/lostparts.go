package sidecar

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// Lines that were taken out of a scratch file are in a file of their own, which nobody syncs, and in that from which they were taken,
// behind whose end of them its writer goes on. A program that has its lines synced has those in the second one on disk, and what is
// known of it: a power cut then takes the part alone.

// taken is a part of a scratch file with lines.
type taken struct {
	Number     int    `json:"number"`
	From       int64  `json:"from"` // where in the scratch file it begins, in bytes
	Generation uint64 `json:"generation"`
	Monotonic  int64  `json:"monotonic"`
}

// stillThere are those that no fold has removed. Of the others the watermark of a later one, or their own, is kept.
func (x *Scratch) stillThere(parts []taken) (left []taken) {
	for _, t := range parts {
		if _, err := x.s.dir.Stat(nthPart(x.n, t.Number) + scratchSuffix); !isMissing(err) {
			left = append(left, t)
		}
	}
	return left
}

func nthPart(n string, number int) string { return fmt.Sprintf("%s%s%d", n, partInfix, number) }

// wholeHas says whether n is a part that is in the scratch file from which it was taken, too.
func wholeHas(dir vfs.Dir, n string, names []string) bool {
	whole, number, ok := partOf(n)
	if !ok || !slices.Contains(names, whole+scratchSuffix) {
		return false
	}
	a, err := readAbout(dir, whole)
	return err == nil && slices.ContainsFunc(a.Taken, func(t taken) bool { return t.Number == number })
}

// lostParts are the numbers of those that a power cut took: they are not in the target, and not beside it as they were.
func (f *fold) lostParts(dir vfs.Dir, sidecar string, x *scratchFile, names []string) (lost []int) {
	if x.about.Skip == 0 {
		return nil // its base has them
	}
	for number := f.lastParts[sidecar] + 1; number <= x.about.Parts; number++ {
		if partIntact(dir, nthPart(x.n, number), names) {
			continue
		}
		lost = append(lost, number)
		if _, known := x.about.takenAt(number); !known {
			break // nothing can be made of the others either
		}
	}
	return lost
}

func partIntact(dir vfs.Dir, part string, names []string) bool {
	if !slices.Contains(names, part+scratchSuffix) {
		return false
	}
	a, err := readAbout(dir, part)
	if err != nil {
		return false
	}
	file, err := dir.OpenFile(part+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	lines, err := readFrom(file, a.Skip)
	return err == nil && contentHash(lines) == a.Hash
}

// takenAt finds where a part was taken from x, and where that ends.
func (a *about) takenAt(number int) (t taken, known bool) {
	i := slices.IndexFunc(a.Taken, func(t taken) bool { return t.Number == number })
	if i < 0 {
		return taken{}, false
	}
	return a.Taken[i], true
}

// endOf is where the part ends: where the next one begins, or what has not been taken.
func (a *about) endOf(t taken) int64 {
	if next, known := a.takenAt(t.Number + 1); known {
		return next.From
	}
	return a.Skip
}

// collectWithLostParts takes the parts that were lost from x itself, each as the sidecar that it was. Where that has not all of them, or
// is torn, all its lines go to quarantine.
func (f *fold) collectWithLostParts(sd *sessionDir, sc *sidecarFile, l line, lost []int, torn bool, file vfs.File, names []string) error {
	x := sc.scratch
	whole, err := readFrom(file, 0)
	if err != nil {
		return err
	}
	var parts []*sidecarFile
	for _, number := range lost {
		t, known := x.about.takenAt(number)
		end := x.about.endOf(t)
		if !known || t.From < 0 || t.From >= end || end > int64(len(whole)) || f.isQuarantined(sc.name, number) {
			torn = true
			break
		}
		part := &scratchFile{about: x.about, content: whole[t.From:end], dir: sd.dir, n: nthPart(x.n, number)}
		part.about.Skip, part.about.Finished = t.From, true
		if part.content[len(part.content)-1] != '\n' || Complete(part.content, merge.Lines) != nil {
			torn = true
			break
		}
		p := &sidecarFile{name: sd.id + "." + part.n, readJournal: readJournal{header: x.about.header}, scratch: part}
		p.makeUp(line{Seq: 1, Generation: t.Generation, Monotonic: t.Monotonic})
		parts = append(parts, p)
	}
	if !torn {
		sc.makeUp(l)
		for _, p := range append(parts, sc) {
			f.pending = append(f.pending, pendingLine{&p.lines[0], p})
		}
		return nil
	}
	x.content, x.unknown = bytes.Trim(whole, "\x00"), true
	if err := f.keepTornScratch(sd, x, names); err != nil {
		return err
	}
	for _, number := range lost {
		if err := f.keepTornPart(sd, nthPart(x.n, number), x.content, names); err != nil {
			return err
		}
	}
	return nil
}

// isQuarantined: what is salvaged of it would be added twice.
func (f *fold) isQuarantined(sidecar string, number int) bool {
	for _, suffix := range []string{tornSuffixName, tornSuffixName + salvagedSuffix} {
		if _, err := f.s.quarantine.Stat(nthPart(sidecar, number) + suffix); !isMissing(err) {
			return true
		}
	}
	return false
}

// keepTornPart puts what is there of a part into quarantine, if its whole has not all of that: salvaged from both, lines may be there twice.
func (f *fold) keepTornPart(sd *sessionDir, n string, whole []byte, names []string) error {
	file, err := sd.dir.OpenFile(n+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return ignoreMissing(err)
	}
	defer file.Close()
	part := &scratchFile{dir: sd.dir, n: n, unknown: true}
	if part.content, err = readFrom(file, 0); err != nil {
		return err
	}
	part.content = bytes.Trim(part.content, "\x00")
	if bytes.Contains(whole, part.content) {
		removeScratch(sd.dir, n)
		return sd.dir.Sync()
	}
	if part.about, err = readAbout(sd.dir, n); err != nil {
		part.about = about{}
	}
	return f.keepTornScratch(sd, part, names)
}
