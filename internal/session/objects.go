//go:build linux

package session

import (
	"sync"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// objects are what the tree knows by its number, whatever its name is: what Known answers from. Nothing else is done under its
// lock.
type objects struct {
	sync.RWMutex
	scratch map[intercept.ID]*writer
	targets map[intercept.ID]*target
	dirs    map[intercept.ID]bool // in which there is a target
	guards  map[intercept.ID]*target
	locks   map[intercept.ID]*target // of folds
	linked  map[intercept.ID]*linked // see hardlinks.go
}

func newObjects() *objects {
	return &objects{
		scratch: map[intercept.ID]*writer{}, targets: map[intercept.ID]*target{}, dirs: map[intercept.ID]bool{},
		guards: map[intercept.ID]*target{}, locks: map[intercept.ID]*target{}, linked: map[intercept.ID]*linked{},
	}
}

// Known: see intercept.Handler.
func (t *Tree) Known(id intercept.ID) bool {
	t.objects.RLock()
	defer t.objects.RUnlock()
	return t.objects.scratch[id] != nil || t.objects.targets[id] != nil || t.objects.dirs[id] || t.objects.guards[id] != nil || t.objects.locks[id] != nil || t.objects.linked[id] != nil
}

func (t *Tree) know(id intercept.ID, of *target) {
	t.objects.Lock()
	defer t.objects.Unlock()
	const many = 1 << 14 // versions come and go: those that are still met are learnt again
	if len(t.objects.targets) > many {
		clear(t.objects.targets)
	}
	t.objects.targets[id] = of
}

func (t *Tree) knowGuard(s *sidecar.Session, of *target) {
	note := func(path string, in map[intercept.ID]*target) {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			in[intercept.ID{Dev: st.Dev, Ino: st.Ino}] = of
		}
	}
	t.objects.Lock()
	defer t.objects.Unlock()
	note(sidecar.GuardDir(of.path), t.objects.guards)
	note(s.FoldLock(), t.objects.locks)
}

// foldLock is the target whose folds a lock excludes from each other. Who takes it in our tree is a jsonguard, or a program
// that is written for it.
func (t *Tree) foldLock(id intercept.ID) *target {
	t.objects.RLock()
	defer t.objects.RUnlock()
	return t.objects.locks[id]
}

func (t *Tree) guard(id intercept.ID) *target {
	t.objects.RLock()
	defer t.objects.RUnlock()
	return t.objects.guards[id]
}

func (t *Tree) knowScratch(id intercept.ID, w *writer) {
	t.objects.Lock()
	defer t.objects.Unlock()
	t.objects.scratch[id] = w
}

func (t *Tree) forget(id intercept.ID) {
	t.objects.Lock()
	defer t.objects.Unlock()
	delete(t.objects.scratch, id)
}

func (t *Tree) scratch(id intercept.ID) *writer {
	t.objects.RLock()
	defer t.objects.RUnlock()
	return t.objects.scratch[id]
}
