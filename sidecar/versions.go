package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"jsonguard/merge"
)

// ErrNoVersion: there is no such version, or it is not kept (any more). The hint says which there are.
var ErrNoVersion = errors.New("no such version")

// Version is one content that the target had, or has.
type Version struct {
	Generation uint64    `json:"generation"`     // of the fold that made it; of the oldest one, the generation before the first fold
	Time       time.Time `json:"time"`           // when it was made; zero where it is that there was no file yet
	Missing    bool      `json:"missing"`        // there was no file
	Size       int64     `json:"size"`           // bytes
	By         []Author  `json:"by"`             // whose changes that fold brought in; empty: not known
	Outside    bool      `json:"outside"`        // somebody without jsonguard made it, after that fold
	Current    bool      `json:"current"`        // it is what the target holds now
	File       string    `json:"file,omitempty"` // its name in history/; empty: it is the target, or a beginning of a file
	Lost       string    `json:"lost,omitempty"` // why it is only known, and not kept

	until uint64 // generation of the fold that replaced it, or of the next one
	hash  string // "" not known
	file  string // in history/, with what it is in; "" the target
	begin bool   // it is the beginning of that file
}

// History lists the versions that are kept and within the bounds, oldest first; the last one is the target as it is now.
// It waits for no lock, but where others fold faster than it can read. Where nothing is kept the list has that one version;
// where there is no target either, none.
func (g *Guard) History(ctx context.Context) ([]Version, error) {
	const attempts = 20 // each needs a fold in the same moment
	for range attempts {
		versions, again, err := g.readHistory()
		if err != nil || !again {
			return versions, g.fail("read history", err, hintFor(err))
		}
		if err := ctx.Err(); err != nil {
			return nil, g.fail("read history", err, "")
		}
	}
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return nil, err
	}
	defer g.turn.give()
	held, err := g.lockAll(ctx, false, until)
	if err != nil {
		return nil, g.fail("read history", err, "")
	}
	defer held.release()
	versions, _, err := g.readHistory()
	return versions, g.fail("read history", err, "")
}

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

// currentVersion is the target as an end of the list.
func (g *Guard) currentVersion(last *commit) (identity, error) {
	f := &fold{g: g}
	if err := f.readTarget(); err != nil {
		return identity{}, err
	}
	defer f.target.close()
	f.target.knownAs(last.To)
	return f.target.identity()
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

// Content returns the bytes of a version that History listed. ErrNoVersion: it is not kept any more, or not what it was
// when it was replaced; the error says which.
func (g *Guard) Content(ctx context.Context, v Version) ([]byte, error) {
	content, err := g.contentOf(v)
	if err == nil && v.hash != "" && contentHash(content) != v.hash {
		err = fmt.Errorf("%w: generation %d was changed after it was replaced, by somebody who had it open", ErrNoVersion, v.Generation)
		if v.begin || v.Current {
			err = fmt.Errorf("%w: generation %d: the lines that were there then have been changed since", ErrNoVersion, v.Generation)
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	return content, g.fail("read version", err, "")
}

func (g *Guard) contentOf(v Version) ([]byte, error) {
	switch {
	case v.Missing:
		return nil, fmt.Errorf("%w: there was no file at generation %d", ErrNoVersion, v.Generation)
	case v.Lost != "":
		return nil, fmt.Errorf("%w: generation %d: %s", ErrNoVersion, v.Generation, v.Lost)
	}
	dir, name := g.parent, g.name
	if v.file != "" {
		s, err := g.openStore(false)
		if err == nil {
			defer s.close()
			_, err = s.keptIfAny()
		}
		if err != nil && !isMissing(err) {
			return nil, err
		}
		if err != nil || s.history == nil {
			return nil, fmt.Errorf("%w: generation %d was removed in this moment", ErrNoVersion, v.Generation)
		}
		dir, name = s.history, v.file
	}
	file, err := dir.OpenFile(name, os.O_RDONLY, 0)
	if isMissing(err) {
		return nil, fmt.Errorf("%w: generation %d was removed in this moment", ErrNoVersion, v.Generation)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !v.begin {
		content, _, err := readAll(file)
		return content, err
	}
	content := make([]byte, v.Size)
	n, err := file.ReadAt(content, 0)
	if int64(n) == v.Size {
		err = nil
	}
	return content[:n], ignoreEOF(err)
}

// Edits lists what is different in the later of two versions, in the order of its text. One that cannot be parsed is a
// *merge.SyntaxError.
func (g *Guard) Edits(ctx context.Context, a, b Version) ([]merge.Edit, error) {
	var old, new []byte
	var err error
	if !a.Missing {
		old, err = g.Content(ctx, a)
	}
	if err == nil && !b.Missing {
		new, err = g.Content(ctx, b)
	}
	if err != nil {
		return nil, err
	}
	// A log that grew: what is before the new lines need not be parsed.
	if rest, grew := bytes.CutPrefix(new, old); g.format == merge.Lines && grew && bytes.HasSuffix(old, []byte("\n")) {
		return appended(rest, bytes.Count(old, []byte("\n"))), nil
	}
	change, err := merge.Diff(old, new, g.format, nil)
	if err != nil {
		return nil, g.fail("compare", err, "")
	}
	return change.Edits(), nil
}

func appended(rest []byte, from int) []merge.Edit {
	var edits []merge.Edit
	for line := range bytes.Lines(rest) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			edits = append(edits, merge.Edit{At: "/" + strconv.Itoa(from+len(edits)), New: line})
		}
	}
	return edits
}

// VersionOf is the version that was there after the fold of that generation, until the next one. ErrNoVersion: it is
// before what is kept, or still to come.
func VersionOf(versions []Version, generation uint64) (Version, error) {
	if len(versions) == 0 {
		return Version{}, fmt.Errorf("%w: nothing is kept", ErrNoVersion)
	}
	newest := versions[len(versions)-1]
	for _, v := range versions {
		if generation >= versions[0].Generation && generation < v.until {
			return v, nil
		}
	}
	return Version{}, fmt.Errorf("%w: generation %d; there are %d to %d", ErrNoVersion, generation, versions[0].Generation, newest.Generation)
}

// VersionAt is the version that was there at that time. ErrNoVersion: it is before what is kept.
func VersionAt(versions []Version, at time.Time) (Version, error) {
	for _, v := range slices.Backward(versions) {
		if !v.Time.After(at) {
			return v, nil
		}
	}
	if len(versions) == 0 {
		return Version{}, fmt.Errorf("%w: nothing is kept", ErrNoVersion)
	}
	return Version{}, fmt.Errorf("%w: the oldest one that is kept is of %s", ErrNoVersion, versions[0].Time.Local().Format(time.DateTime))
}

// LastGood is the newest version that can be brought back: it is kept, and it parses. ok is false where there is none.
func (g *Guard) LastGood(ctx context.Context) (v Version, ok bool) {
	versions, err := g.History(ctx)
	if err != nil {
		return Version{}, false
	}
	for _, v := range slices.Backward(versions) {
		if v.Current || v.Size == 0 {
			continue
		}
		if content, err := g.Content(ctx, v); err == nil && merge.Valid(content, g.format) == nil {
			return v, true
		}
	}
	return Version{}, false
}
