package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// restoration is what a restore brings into a fold, before anything that is pending: who has changed the target since,
// without a fold yet, changes what was restored.
type restoration struct {
	file    string // of the version, in history/; "" the target
	content []byte // of the version
	at      merge.Pointer
	value   []byte // of the place, where that is not the whole
}

// Restore makes the target what it was in a version that History listed, or a place in it: at is an RFC 6901 pointer, ""
// is the whole, byte for byte. What is pending is folded first, and what comes in meanwhile on top of it, so that nothing
// that was acknowledged is dropped in silence. It is a fold like any other: the version that it replaces is kept, whatever
// the policy says, and can be restored. A target that cannot be parsed is replaced as well, and kept. merge.ErrNotFound:
// the place did not exist in that version.
func (g *Guard) Restore(ctx context.Context, v Version, at string) (Result, error) {
	r, err := g.restoration(ctx, v, at)
	if err != nil {
		return Result{}, g.fail("restore", err, "")
	}
	var syntax *merge.SyntaxError
	if _, err := g.foldOwn(ctx, ownChange{}); err != nil && !errors.As(err, &syntax) {
		return Result{}, err
	}
	return g.foldOwn(ctx, ownChange{restore: r})
}

// PreviewRestore is the content that Restore would leave, if nobody wrote meanwhile.
func (g *Guard) PreviewRestore(ctx context.Context, v Version, at string) ([]byte, error) {
	r, err := g.restoration(ctx, v, at)
	if err != nil {
		return nil, g.fail("restore", err, "")
	}
	if len(r.at) == 0 {
		return r.content, nil
	}
	f := &fold{g: g, own: ownChange{restore: r}, lock: &heldLocks{}}
	defer func() { f.close(); f.lock.release() }()
	if err = f.readTarget(); err == nil {
		err = f.restore()
	}
	if err != nil {
		return nil, g.fail("restore", err, g.hintFor(err))
	}
	return f.doc.Bytes(), nil
}

func (g *Guard) restoration(ctx context.Context, v Version, at string) (*restoration, error) {
	pointer, err := merge.ParsePointer(at)
	if err != nil {
		return nil, err
	}
	content, err := g.Content(ctx, v)
	if err != nil {
		return nil, err
	}
	d, err := merge.Parse(content, g.format)
	if err != nil {
		return nil, fmt.Errorf("generation %d: %w", v.Generation, err)
	}
	r := &restoration{file: v.file, content: content, at: pointer}
	if len(pointer) > 0 {
		if r.value, err = d.Get(pointer); err != nil {
			return nil, fmt.Errorf("generation %d: %s: %w", v.Generation, at, err)
		}
	}
	return r, nil
}

// restore makes the document of this fold.
func (f *fold) restore() (err error) {
	r := f.own.restore
	if len(r.at) == 0 {
		if _, err := f.target.read(); err != nil { // it is compared with the outcome
			return err
		}
		f.restored = r.content
		f.target.hash = "" // by its bytes, not by what is known of a file of that size and time: it may be damaged
		f.doc, err = merge.Parse(r.content, f.g.format)
		return err
	}
	if err := f.open(); err != nil {
		return err
	}
	return f.doc.Do(merge.Op{Kind: merge.OpSet, At: r.at.String(), Value: r.value})
}

// copyVersionsMeta gives a file that comes back the mode and the owner that it had.
func (f *fold) copyVersionsMeta(file vfs.File) error {
	if _, err := f.s.keptIfAny(); err != nil {
		return err
	}
	was, err := f.s.history.OpenFile(f.own.restore.file, os.O_RDONLY, 0)
	if isMissing(err) { // pruned in this moment
		return file.SetMode(f.s.perm)
	}
	if err != nil {
		return err
	}
	defer was.Close()
	file.CopyMeta(was)
	return nil
}

// RestoreHint says how to bring the last good version back; "" where none is kept.
func (g *Guard) RestoreHint(ctx context.Context) string {
	v, ok := g.LastGood(ctx)
	if !ok {
		return ""
	}
	return fmt.Sprintf("the last good version that is kept is of %s, without what was changed after it: jsonguard restore '%s' --to %d brings it back",
		v.Time.Local().Format(time.DateTime), strings.ReplaceAll(g.Target(), "'", `'\''`), v.Generation)
}
