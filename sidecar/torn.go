package sidecar

import (
	"bytes"
	"strings"

	"jsonguard/internal/vfs"
)

// tornSuffixName ends the name of a torn document in quarantine/; its base is beside it under tornBaseSuffix.
const (
	tornSuffixName = ".torn"
	tornBaseSuffix = ".torn-base"
	salvagedSuffix = ".salvaged"
)

// keepTornScratch puts what a dead writer left into quarantine, on disk, before it goes from views/.
func (f *fold) keepTornScratch(sd *sessionDir, x *scratchFile) error {
	if err := x.read(); err != nil {
		return err
	}
	name := ""
	if len(bytes.TrimSpace(x.content)) > 0 {
		id := sd.id + "." + x.n
		name = id + tornSuffixName
		base, missing, err := f.likelyBase(x)
		if err != nil {
			return err
		}
		if !missing {
			if err := f.s.keep(id+tornBaseSuffix, base); err != nil {
				return err
			}
		}
		if err := f.s.keep(name, x.content); err != nil {
			return err
		}
		if err := f.s.quarantine.Sync(); err != nil {
			return err
		}
		f.torn = append(f.torn, name)
		f.g.warn("process %d (%s) was stopped in the middle of a write: its incomplete version is in quarantine: %s",
			x.about.PID, x.about.Command, f.g.quarantined(name))
	}
	removeScratch(sd.dir, x.n)
	return sd.dir.Sync()
}

// likelyBase: by the content of a torn version nothing can be chosen.
func (f *fold) likelyBase(x *scratchFile) (base []byte, missing bool, err error) {
	if len(x.about.Bases) <= x.about.Likely || x.about.Bases[x.about.Likely] == "" {
		return nil, true, nil
	}
	base, intact, err := readBase(x.dir, x.about.Bases[x.about.Likely])
	return base, !intact, err
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
		if base != "" {
			before, err := readFile(view, base)
			if err != nil {
				return "", err
			}
			if err := s.keep(id+tornBaseSuffix, before); err != nil {
				return "", err
			}
		}
		if err := s.keep(name, content); err != nil {
			return "", err
		}
		if err := s.quarantine.Sync(); err != nil {
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
