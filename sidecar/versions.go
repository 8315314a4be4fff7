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
func (g *Guard) History(ctx context.Context) (versions []Version, err error) {
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
	err = g.alone(ctx, "read history", func(*store) error {
		versions, _, err = g.readHistory()
		return err
	})
	return versions, err
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
