package sidecar

import (
	"bytes"
	"strings"

	"jsonguard/internal/vfs"
)

// A torn document is in quarantine under the name of the sidecar that it would have been:
//
//	<id>.torn           what there is of it
//	<id>.torn-base      what it was made from; missing if there was none
//	<id>.torn-unknown   that is not known: a power cut took it, or what was known of it
//	<id>.torn.salvaged  instead of <id>.torn, once its complete records are in a sidecar of their own, salvage.<id>
const (
	tornSuffixName    = ".torn"
	tornBaseSuffix    = ".torn-base"
	tornUnknownSuffix = ".torn-unknown"
	salvagedSuffix    = ".salvaged"
	salvagePrefix     = "salvage."
)

// baseUnknown in the place of a base is the target itself, as it is when the change comes to be folded: what is in there is not
// added again. No file has that name.
const baseUnknown = "."

// keepTornVersion puts a torn document into quarantine, on disk, with what it was made from; nil is a missing one.
func (s *store) keepTornVersion(id string, content, base []byte, known bool) error {
	var err error
	switch {
	case !known:
		err = s.keep(id+tornUnknownSuffix, []byte("what it was made from is not known: salvage adds what the file does not have\n"))
	case base != nil:
		err = s.keep(id+tornBaseSuffix, base)
	}
	if err == nil && (!known || base != nil) {
		err = s.quarantine.Sync() // without it, a power cut makes it one that was made from nothing
	}
	if err != nil {
		return err
	}
	if err := s.keep(id+tornSuffixName, content); err != nil {
		return err
	}
	return s.quarantine.Sync()
}

// keepTornScratch puts what a dead writer left into quarantine, on disk, before it goes from views/.
func (f *fold) keepTornScratch(sd *sessionDir, x *scratchFile, names []string) error {
	if err := x.read(); err != nil {
		return err
	}
	name := ""
	if len(bytes.TrimSpace(x.content)) > 0 {
		id := sd.id + "." + x.n
		name = id + tornSuffixName
		base, known, err := f.likelyBase(x)
		if err != nil {
			return err
		}
		last, err := f.lastPart(id, x.n, names)
		if err != nil {
			return err
		}
		if err := f.s.keepTornVersion(id, x.content, base, known && !x.unknown && last == x.about.Parts); err != nil {
			return err
		}
		f.torn = append(f.torn, name)
		f.g.warn("process %d (%s) was stopped in the middle of a write: its incomplete version is in quarantine: %s",
			x.about.PID, x.about.Command, f.g.quarantined(name))
	}
	removeScratch(sd.dir, x.n)
	return sd.dir.Sync()
}

// likelyBase: by the content of a torn version nothing can be chosen. Not known: a power cut took it.
func (f *fold) likelyBase(x *scratchFile) (base []byte, known bool, err error) {
	if len(x.about.Bases) <= x.about.Likely || x.about.Bases[x.about.Likely] == "" {
		return nil, true, nil
	}
	if base, known, err = readBase(x.dir, x.about.Bases[x.about.Likely]); !known {
		base = nil
	}
	return base, known, err
}

// keepTorn puts an incomplete copy and its base into quarantine, on disk, and removes the copy: that is what
// tells the next adoption that it was dealt with. name is "" for a copy without content.
func (s *store) keepTorn(view vfs.Dir, id, target, base string) (name string, err error) {
	content, err := readCopy(view, target)
	if err != nil {
		return "", err
	}
	if len(content) > 0 {
		name = id + tornSuffixName
		var before []byte
		if base != "" {
			if before, err = readFile(view, base); err != nil {
				return "", err
			}
		}
		if err := s.keepTornVersion(id, content, before, true); err != nil {
			return "", err
		}
	}
	copies, err := view.OpenDir(copyName)
	if err != nil {
		return "", err
	}
	defer copies.Close()
	if err := copies.Remove(target); err != nil {
		return "", err
	}
	return name, copies.Sync()
}

// takeTorn turns torn documents in quarantine into pending changes, where the policy says so. They were said to be torn when
// they came there; what is complete of them is added, and nothing is deleted.
func (f *fold) takeTorn() {
	if !f.g.tornAdditions {
		return
	}
	names, err := f.s.quarantine.Names()
	if err != nil {
		return // the next fold looks again
	}
	for _, name := range names {
		id, ok := strings.CutSuffix(name, tornSuffixName)
		if !ok || f.g.hopeless[id] {
			continue
		}
		switch one, err := f.g.salvageOne(f.s, id); {
		case err != nil:
			f.g.warn("%s: its complete records were not taken: %v", f.g.quarantined(name), err)
		case one.Kept == 0:
			if f.g.hopeless == nil {
				f.g.hopeless = map[string]bool{}
			}
			f.g.hopeless[id] = true
		default:
			f.g.warn("%s: %d bytes of it are complete records and are added, %d bytes are not", f.g.quarantined(one.File), one.Kept, one.Cut)
		}
	}
}
