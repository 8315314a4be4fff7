package sidecar

import (
	"strconv"
	"strings"
)

// What is known of a scratch file is written anew whenever a part is taken out of it, and not synced. After a power cut it may be
// what was known before the last part, which is in the target by then, or what was known behind it, and the part is lost. The
// parts are numbered, and there is a trace of the last one as long as the file is there: itself, what quarantine has of it, or
// its watermark.

// partOf splits the name of a part.
func partOf(n string) (whole string, number int, ok bool) {
	i := strings.LastIndex(n, partInfix)
	if i < 0 {
		return "", 0, false
	}
	number, err := strconv.Atoi(n[i+len(partInfix):])
	return n[:i], number, err == nil && number > 0
}

// lastPartsIn is, by the sidecar of a scratch file, the last of its parts that is in the target.
func lastPartsIn(marks watermarks) map[string]int {
	last := map[string]int{}
	for id := range marks {
		session, n, scratch := sessionOf(id)
		if !scratch {
			continue
		}
		if whole, number, ok := partOf(n); ok {
			sidecar := session + "." + whole
			last[sidecar] = max(last[sidecar], number)
		}
	}
	return last
}

// keepLastPart keeps the watermark of the last part that was taken out of a scratch file, as long as that is there.
func (f *fold) keepLastPart(sidecar string) {
	if number := f.lastParts[sidecar]; number > 0 {
		part := sidecar + partInfix + strconv.Itoa(number)
		f.after[part] = f.marks[part]
	}
}

// lastPart is the number of the last part of a scratch file that there is a trace of; names are what is in its directory.
func (f *fold) lastPart(sidecar, n string, names []string) (last int, err error) {
	last = f.lastParts[sidecar]
	look := func(names []string, whole, suffix string) {
		for _, name := range names {
			rest, ok := strings.CutPrefix(name, whole+partInfix)
			if !ok {
				continue
			}
			if digits, ok := strings.CutSuffix(rest, suffix); ok {
				if number, err := strconv.Atoi(digits); err == nil {
					last = max(last, number)
				}
			}
		}
	}
	look(names, n, scratchSuffix)
	kept, err := f.s.quarantine.Names()
	look(kept, sidecar, tornSuffixName)
	look(kept, sidecar, tornSuffixName+salvagedSuffix)
	return last, err
}
