//go:build linux

package session

import (
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// ownVersion is what a program closed and no fold has taken yet, as far as we know.
type ownVersion struct {
	scratch *sidecar.Scratch
	version *version
	base    *version
	time    unix.Timespec // that its program gave it
	diffed  atomic.Bool
}

// closed notes a version that is pending from now on.
func (t *target) closed(w *writer, v, base *version, diffed bool) {
	v.sidecar = w.scratch.Sidecar()
	o := &ownVersion{scratch: w.scratch, version: v, base: base, time: w.time}
	o.diffed.Store(diffed)
	t.pending = append(t.pending, o)
}

// submitted is the version that a writer goes on from, which is on disk beside its scratch file: it may go on for long, and
// what it holds is not to be in memory all the while.
func (t *target) submitted(w *writer, base []byte) *version {
	var st unix.Stat_t
	f, err := w.scratch.OpenBase()
	if err == nil && unix.Fstat(int(f.Fd()), &st) == nil && st.Size == int64(len(base)) {
		return t.add(&version{file: f, stamp: stampOf(&st)})
	}
	if err == nil {
		_ = f.Close()
	}
	return &version{content: base}
}

// own is what is pending for a fold. What will be folded as it is needs no diff.
func (t *target) own() sidecar.Closed {
	pending := slices.Clone(t.pending)
	own := sidecar.Closed{}
	if !t.foldsWhole() {
		format := t.format
		own.Diff = func() { diff(pending, format) }
	}
	for _, o := range pending {
		own.Files = append(own.Files, o.scratch)
	}
	return own
}

// foldsWhole: all that is pending, of anybody, is one large version, and the target is still what that was made from. If
// that changes before the fold, it makes the diff by itself.
func (t *target) foldsWhole() bool {
	if len(t.pending) != 1 || t.format != merge.JSON || t.session == nil || !t.session.Guard().Policy().TakesWhole() {
		return false
	}
	o := t.pending[0]
	var st unix.Stat_t
	return o.version.stamp.size >= sidecar.Large && o.base != missing && unix.Lstat(t.path, &st) == nil && o.base.is(stampOf(&st)) && t.session.OnlyPending(o.scratch)
}

// diff makes the changes of what is pending before a lock is taken for them.
func diff(pending []*ownVersion, format merge.Format) {
	for _, o := range pending {
		if o.diffed.Swap(true) {
			continue
		}
		bases, err := basesUpTo(sidecar.Large, format, []*version{o.base}, 0)
		if err == nil { // else the fold reads it from the disk
			_, _ = o.scratch.PrepareFrom(o.version.file, bases)
		}
	}
}

// taken drops what a fold has taken: everything that was pending before it began. Where the target is such a version now
// it is known again as that one: a program that rewrites a file in a loop has one base, and not two of the same content.
func (t *target) taken(before []*ownVersion, p *sidecar.Published) {
	t.pending = slices.DeleteFunc(t.pending, func(o *ownVersion) bool { return slices.Contains(before, o) })
	for _, o := range before {
		if p != nil && o.version.sidecar == p.Sidecar {
			o.version.as = stamp{intercept.ID{Dev: t.key.dir.Dev, Ino: p.Inode}, p.Size, unix.NsecToTimespec(p.MTime.UnixNano())}
			t.published = o.version
		}
	}
	if n := len(before); n > 0 {
		t.setTime(before[n-1].time, before[n-1].version)
	}
}
