package sidecar

import (
	"fmt"
	"slices"
	"time"
)

// readHistory says again where a fold came in between.
func (g *Guard) readHistory() (versions []Version, again bool, err error) {
	h := g.Keeps()
	s, err := g.openStore(false)
	if err != nil && !isMissing(err) {
		return nil, false, err
	}
	var lines []kept
	var files []keptFile
	var stamp string
	last := &commit{}
	if err == nil {
		defer s.close()
		stamp = s.historyStamp()
		if before, cerr := s.newestCommit(); cerr == nil { // without a record, history is worth all the more
			last = before
		}
		if lines, files, err = s.readKept(h); err != nil {
			return nil, false, err
		}
	}
	now, err := g.currentVersion(last)
	if err != nil {
		return nil, false, err
	}
	if s != nil {
		if after, cerr := s.newestCommit(); cerr == nil && after.Generation != last.Generation || s.historyStamp() != stamp {
			return nil, true, nil
		}
	}
	versions = listVersions(lines, files, now, last.Generation)
	if h != nil { // the line before the oldest tells only who made that
		versions = versions[max(0, len(versions)-h.keep()-1):]
	}
	return versions, false, nil
}

// historyStamp changes with each step of a fold that keeps a version.
func (s *store) historyStamp() string {
	files, err := s.keptIfAny()
	if err != nil || s.history == nil {
		return ""
	}
	info, _ := s.history.Stat(indexName)
	var newest uint64
	if len(files) > 0 {
		newest = files[len(files)-1].generation
	}
	return fmt.Sprint(len(files), newest, info.Size)
}

// readKept reads index and names. A version whose line is lost, but not its file, has a line all the same.
func (s *store) readKept(h *History) (lines []kept, files []keptFile, err error) {
	if files, err = s.keptIfAny(); err != nil || s.history == nil {
		return nil, nil, err
	}
	raw, err := readFile(s.history, indexName)
	if err != nil && !isMissing(err) {
		return nil, nil, err
	}
	lines, _ = parseIndex(raw)
	for _, f := range files {
		if !slices.ContainsFunc(lines, func(k kept) bool { return k.Generation == f.generation }) {
			info, err := s.history.Stat(f.name)
			if err != nil {
				continue // pruned in this moment
			}
			lines = append(lines, kept{Generation: f.generation, Time: f.replaced, Kind: kindReplace, From: identify(info, "")})
		}
	}
	slices.SortStableFunc(lines, func(a, b kept) int { return compare(a.Generation, b.Generation) })
	if h != nil {
		from, err := h.firstWithin(s.history, files, time.Now())
		if err != nil {
			return nil, nil, err
		}
		files = files[from:]
		lines = lines[max(0, len(lines)-h.keep()-1):]
		for len(lines) > 1 && h.expired(lines[1].Time, time.Now()) {
			lines = lines[1:]
		}
	}
	return lines, files, nil
}

// currentVersion is the target as it is now. One that this Guard has looked at before is not read again: watch looks every two
// seconds, also at what no fold left.
func (g *Guard) currentVersion(last *commit) (identity, error) {
	f := &fold{g: g}
	if err := f.readTarget(); err != nil {
		return identity{}, err
	}
	defer f.target.close()
	f.target.knownAs(last.To)
	if seen := g.seen.Load(); seen != nil {
		f.target.knownAs(*seen)
	}
	now, err := f.target.identity()
	if err == nil {
		g.seen.Store(&now)
	}
	return now, err
}

// listVersions: each line of the index is a fold, between the version that it replaced and the one that the next replaced.
func listVersions(lines []kept, files []keptFile, now identity, generation uint64) []Version {
	lines = happened(lines, now)
	names := map[uint64]string{}
	for _, f := range files {
		names[f.generation] = f.name
	}
	var versions []Version
	for i := range len(lines) + 1 {
		v := Version{By: []Author{}}
		id, next := now, kept{}
		if i < len(lines) {
			next = lines[i]
			id, v.until = next.From, next.Generation
			v.file = names[next.Generation]
			v.File = v.file
		} else {
			v.Current = true
		}
		v.Missing, v.Size, v.hash = id.Missing, id.Size, id.Hash
		if !id.Missing {
			v.Time = time.Unix(0, id.MTime).UTC()
		}
		switch {
		case i > 0:
			made := lines[i-1]
			if id.Missing { // some time after that fold
				v.Time = made.Time
			}
			v.Generation = made.Generation
			if v.Outside = id.Hash != "" && made.To.Hash != "" && id.Hash != made.To.Hash || id.Missing; !v.Outside {
				v.Time, v.By = made.Time, notNone(made.By)
			}
		case v.Current:
			v.Generation = generation
		default:
			v.Generation = next.Generation - 1
			v.Outside = next.Outside
		}
		if v.Current {
			v.until = max(generation, v.Generation) + 1
		}
		versions = append(versions, v)
	}
	findBeginnings(versions, lines)
	// A version before the oldest that is kept can only be named.
	for len(versions) > 1 && versions[0].Lost != "" {
		versions = versions[1:]
	}
	if len(versions) == 1 && versions[0].Missing {
		return nil
	}
	return versions
}

// happened leaves out the folds that were stopped before they replaced anything: the next one found what they had found.
func happened(lines []kept, now identity) []kept {
	var out []kept
	for i, k := range lines {
		next := now
		if i+1 < len(lines) {
			next = lines[i+1].From
		}
		same := k.From.sameFile(next)
		if k.From.Hash != "" && next.Hash != "" {
			same = k.From.Hash == next.Hash && k.From.Size == next.Size
		}
		if same || k.From.Missing && next.Missing {
			continue
		}
		out = append(out, k)
	}
	return out
}

// findBeginnings: a version that lines were appended to is the beginning of the next one that has a file.
func findBeginnings(versions []Version, lines []kept) {
	whole, reachable := "", true // the next whole content, and whether it begins with what is before it
	for i := len(versions) - 1; i >= 0; i-- {
		v := &versions[i]
		switch {
		case v.Current:
			reachable = true
		case v.Missing:
			reachable = false
		case v.file != "":
			whole, reachable = v.file, true
		case lines[i].Kind == kindAppend && reachable:
			v.file, v.begin = whole, true
		default:
			v.Lost, reachable = "it is not kept", false
		}
	}
}

func notNone(by []Author) []Author {
	if by == nil {
		return []Author{}
	}
	return by
}
