package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// archive is a target whose versions are kept.
type archive struct {
	*testing.T
	target string
	o      Options
}

func newArchive(t *testing.T, h *History) *archive {
	a := &archive{T: t, target: filepath.Join(t.TempDir(), "a.json"), o: Options{History: h, Timeout: -1}}
	require.NoError(t, os.WriteFile(a.target, []byte(`{"n": 0}`), 0o644))
	return a
}

func (a *archive) open() *Guard {
	g, err := Open(a.target, a.o)
	require.NoError(a, err)
	a.Cleanup(func() { _ = g.Close() })
	return g
}

func (a *archive) count(g *Guard, times int) (last Result) {
	for range times {
		var err error
		last, err = g.Apply(a.Context(), incr("/n"))
		require.NoError(a, err)
	}
	return last
}

// contents of the versions that are listed, oldest first.
func (a *archive) contents(g *Guard) (list []string) {
	versions, err := g.History(a.Context())
	require.NoError(a, err)
	for _, v := range versions {
		content, err := g.Content(a.Context(), v)
		require.NoError(a, err)
		list = append(list, string(content))
	}
	return list
}

func (a *archive) files() []string {
	files, err := filepath.Glob(filepath.Join(GuardDir(a.target), historyName, "0*"))
	require.NoError(a, err)
	return files
}

func counted(from, to int) (list []string) {
	for n := from; n <= to; n++ {
		list = append(list, fmt.Sprintf(`{"n": %d}`, n))
	}
	return list
}

func TestHistoryKeepsWhatFoldsReplace(t *testing.T) {
	a := newArchive(t, &History{Keep: 100})
	g := a.open()
	before, err := os.Stat(a.target)
	require.NoError(t, err)
	a.count(g, 5)
	require.Equal(t, counted(0, 5), a.contents(g))
	first, err := os.Stat(a.files()[0])
	require.NoError(t, err)
	require.True(t, os.SameFile(before, first), "the file itself, not a copy")

	versions, err := g.History(t.Context())
	require.NoError(t, err)
	require.Empty(t, versions[0].By, "who made the first is not known")
	host, err := os.Hostname()
	require.NoError(t, err)
	for i, v := range versions[1:] {
		require.Equal(t, uint64(i+2), v.Generation)
		require.Equal(t, []Author{{Host: host, PID: os.Getpid(), Command: commandLine()}}, []Author{{Host: v.By[0].Host, PID: v.By[0].PID, Command: v.By[0].Command}})
		require.Equal(t, i == 4, v.Current)
		require.False(t, v.Time.Before(versions[i].Time))
	}
	v, err := VersionAt(versions, versions[3].Time)
	require.NoError(t, err)
	require.Equal(t, versions[3], v)
	_, err = VersionAt(versions, versions[0].Time.Add(-time.Hour))
	require.ErrorIs(t, err, ErrNoVersion)
	_, err = VersionOf(versions, 99)
	require.ErrorContains(t, err, "there are 1 to 6")
}

// Without a policy nothing is kept, and nothing is left beside the file.
func TestNoHistoryUnlessAsked(t *testing.T) {
	a := newArchive(t, nil)
	g := a.open()
	a.count(g, 3)
	require.NoDirExists(t, GuardDir(a.target))
	versions, err := g.History(t.Context())
	require.NoError(t, err)
	require.Len(t, versions, 1)
	require.True(t, versions[0].Current)

	// Nor under a policy that does not ask for it.
	a.target, a.o = underPolicy(t, `{"rules": [{"at": "/n", "merge": "sum"}]}`, "a.json", `{"n": 0}`), Options{}
	g = a.open()
	a.count(g, 3)
	require.NoDirExists(t, GuardDir(a.target))
	require.Equal(t, []string{`{"n": 3}`}, a.contents(g))
}

// What the policy file says counts, and is followed while the file is open.
func TestHistoryFollowsThePolicy(t *testing.T) {
	a := newArchive(t, nil)
	g := a.open()
	a.count(g, 1)
	policyFile := filepath.Join(filepath.Dir(a.target), "jsonguard.json")
	require.NoError(t, os.WriteFile(policyFile, []byte(`{"history": {"keep": 3}}`), 0o644))
	a.count(g, 2)
	require.Equal(t, counted(1, 3), a.contents(g))
	require.NoError(t, os.Remove(policyFile))
	a.count(g, 1)
	require.Len(t, a.files(), 2, "nothing more is kept, and what is kept stays")
	removed, err := g.Clean(t.Context())
	require.NoError(t, err)
	require.Empty(t, removed)
	require.Len(t, a.files(), 2)
	removed, err = g.ForgetHistory(t.Context())
	require.NoError(t, err)
	require.Len(t, removed, 2)
	_, err = g.Clean(t.Context())
	require.NoError(t, err)
	require.NoDirExists(t, GuardDir(a.target))
	require.Equal(t, counted(4, 4), a.contents(g))
}

// The bounds hold exactly for what is listed, and to an eighth for what is on disk, to a quarter while folds go on; nothing goes that is within them.
func TestHistoryIsPruned(t *testing.T) {
	for _, c := range []struct {
		h      History
		folds  int
		listed int // versions beside the one that is there
	}{
		{History{Keep: 1}, 9, 1},
		{History{Keep: 16}, 15, 15},
		{History{Keep: 16}, 16, 16},
		{History{Keep: 16}, 60, 16},
		{History{Keep: 16, Size: 50}, 40, 5}, // of 9 bytes each: 45, or 54
		{History{Keep: 16, Size: 1}, 40, 1},
		{History{Keep: 16, For: time.Hour}, 40, 16},
		{History{Keep: 16, For: time.Nanosecond}, 40, 0},
		{History{}, 70, 50},
	} {
		t.Run(fmt.Sprintf("%+v", c.h), func(t *testing.T) {
			a := newArchive(t, &c.h)
			require.NoError(t, os.WriteFile(a.target, []byte(`{"n": 10}`), 0o644))
			g := a.open()
			a.count(g, c.folds)
			require.Equal(t, counted(10+c.folds-c.listed, 10+c.folds), a.contents(g))
			require.LessOrEqual(t, len(a.files()), c.listed+2*max(1, c.h.keep()/8), "folds do not outrun the pruning")
			require.NoError(t, g.Close())
			require.LessOrEqual(t, len(a.files()), c.listed+max(1, c.h.keep()/8))
			_, err := a.open().Clean(t.Context())
			require.NoError(t, err)
			require.LessOrEqual(t, len(a.files()), max(0, c.listed), "clean prunes exactly")
		})
	}
}

// To free files takes time, which neither the caller nor those who wait for the locks spend.
func TestNobodyWaitsForThePruning(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	o := Options{History: &History{Keep: 2}}
	g, other := m.process(o), m.process(o)
	var prune func()
	g.seams.later = func(do func()) { prune = do }
	removed := false
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "remove" && strings.Contains(c.Path, "/"+historyName+"/") && !removed {
			removed = true
			_, err := other.Apply(t.Context(), incr("/n"))
			require.NoError(t, err, "the locks are free")
		}
		return vfs.Fault{}
	}
	for range 2 {
		_, err := g.Apply(t.Context(), incr("/n"))
		require.NoError(t, err)
		prune()
	}
	_, err := g.Apply(t.Context(), incr("/n"))
	require.NoError(t, err)
	require.False(t, removed, "by the fold")
	prune()
	require.True(t, removed)
	require.Equal(t, `{"n":4}`, m.content())
}

// Files are freed with a rest behind each, but not while somebody waits: a later pruning, or Close.
func TestPruningRestsUntilSomebodyWaits(t *testing.T) {
	a := newArchive(t, &History{Keep: 8})
	g := a.open()
	a.count(g, 8)
	history, err := vfs.OS.OpenDir(filepath.Join(g.GuardDir(), historyName))
	require.NoError(t, err)
	defer history.Close()
	rests := 0
	require.NoError(t, prune(history, &History{Keep: 5}, time.Now(), func(time.Duration) { rests++ }))
	require.Equal(t, 3, rests)
	for _, wait := range []func(){g.hurry, func() { require.NoError(t, g.Close()) }} {
		rest := g.resting()
		rested := make(chan struct{})
		go func() {
			defer close(rested)
			rest(time.Hour)
		}()
		wait()
		select {
		case <-rested:
		case <-time.After(30 * time.Second):
			t.Fatal("it still rests")
		}
	}
	g.resting()(time.Hour) // it is closed
}

// Each process that comes and goes prunes no less than one that stays.
func TestHistoryIsPrunedByOneShots(t *testing.T) {
	a := newArchive(t, &History{Keep: 8})
	for range 40 {
		g, err := Open(a.target, a.o)
		require.NoError(t, err)
		a.count(g, 1)
		require.NoError(t, g.Close())
	}
	require.LessOrEqual(t, len(a.files()), 9)
	require.Equal(t, counted(32, 40), a.contents(a.open()))
}

// The index does not grow for ever, and tells of every version that is listed who made it.
func TestIndexIsCompacted(t *testing.T) {
	a := newArchive(t, &History{Keep: 4})
	a.o.Command = strings.Repeat("x", 190)
	g := a.open()
	a.count(g, 400)
	info, err := os.Stat(filepath.Join(GuardDir(a.target), historyName, indexName))
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(indexAtLeast+4<<10))
	versions, err := g.History(t.Context())
	require.NoError(t, err)
	require.Len(t, versions, 5)
	for _, v := range versions {
		require.Len(t, v.By, 1, "%+v", v)
	}
}

// A file that has names elsewhere may be written through them: its versions are copies.
func TestHistoryOfAHardLink(t *testing.T) {
	a := newArchive(t, &History{})
	a.o.FollowLinks = true
	other := filepath.Join(filepath.Dir(a.target), "other")
	require.NoError(t, os.Link(a.target, other))
	g := a.open()
	a.count(g, 1)
	require.NoError(t, os.WriteFile(other, []byte("changed"), 0o644))
	require.Equal(t, counted(0, 1), a.contents(g))
}

// Where links are not to be had, versions are copied, on disk before the fold, and it is said.
func TestHistoryWithoutLinks(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "link" {
			return vfs.Fault{Err: syscall.EPERM}
		}
		return vfs.Fault{}
	}
	var said []string
	g := m.process(Options{History: &History{}, Warn: func(text string) { said = append(said, text) }})
	for range 3 {
		_, err := g.Apply(t.Context(), incr("/n"))
		require.NoError(t, err)
	}
	versions, err := g.History(t.Context())
	require.NoError(t, err)
	require.Len(t, versions, 4)
	for i, v := range versions {
		content, err := g.Content(t.Context(), v)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf(`{"n":%d}`, i), string(content))
	}
	require.Len(t, said, 1, "once")
	require.Contains(t, said[0], "versions are copied")
}

// A version that cannot be kept costs no change; a restore that could not be undone does not happen.
func TestWhatCannotBeKept(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	var said []string
	g := m.process(Options{History: &History{}, Warn: func(text string) { said = append(said, text) }})
	for range 2 {
		_, err := g.Apply(t.Context(), incr("/n"))
		require.NoError(t, err)
	}
	m.before = failing("write", indexName, syscall.ENOSPC)
	_, err := g.Apply(t.Context(), incr("/n"))
	require.NoError(t, err)
	require.Contains(t, strings.Join(said, "\n"), "the version before generation 4 is not kept: index: ")
	versions, err := g.History(t.Context())
	require.NoError(t, err)
	_, err = g.Restore(t.Context(), versions[0], "")
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, `{"n":3}`, m.content())
	require.Equal(t, `{"n":3}`, m.recovered())
}

// A restore is undone by another one, with and without history in the policy; what is pending is not lost by it.
func TestRestoreIsAChangeLikeAnyOther(t *testing.T) {
	a := newArchive(t, &History{})
	g := a.open()
	a.count(g, 3)
	a.o.History = nil // the policy asks for none any more
	h := a.open()
	versions, err := h.History(t.Context())
	require.NoError(t, err)
	require.NoError(t, h.Journal(t.Context(), merge.Op{Kind: merge.OpSet, At: "/pending", Value: merge.Raw("true")}))
	restored, err := h.Restore(t.Context(), versions[1], "")
	require.NoError(t, err)
	content, err := os.ReadFile(a.target)
	require.NoError(t, err)
	require.Equal(t, `{"n": 1}`, string(content), "byte for byte")

	versions, err = h.History(t.Context())
	require.NoError(t, err)
	undo, err := VersionOf(versions, restored.Generation-1)
	require.NoError(t, err)
	_, err = h.Restore(t.Context(), undo, "")
	require.NoError(t, err)
	content, err = os.ReadFile(a.target)
	require.NoError(t, err)
	require.Equal(t, `{"n": 3, "pending": true}`, string(content), "what was pending is a version")

	// a place
	_, err = h.Restore(t.Context(), versions[2], "/n")
	require.NoError(t, err)
	content, err = os.ReadFile(a.target)
	require.NoError(t, err)
	require.Equal(t, `{"n": 2, "pending": true}`, string(content))
	_, err = h.Restore(t.Context(), versions[2], "/pending")
	require.ErrorIs(t, err, merge.ErrNotFound)
	result, err := h.Restore(t.Context(), versions[2], "/n")
	require.NoError(t, err)
	require.False(t, result.Changed, "it is there already")
}

// A guard directory that was lost in part and made again does not mix its generations with the versions that are there.
func TestGenerationsGoOnAfterTheVersions(t *testing.T) {
	a := newArchive(t, &History{})
	a.count(a.open(), 5)
	require.NoError(t, os.RemoveAll(filepath.Join(GuardDir(a.target), pendingName)))
	g := a.open()
	result := a.count(g, 1)
	require.Greater(t, result.Generation, uint64(6))
	require.Equal(t, counted(0, 6), a.contents(g))
}

// Opening a file in the moment between the two steps of a fold, in which it has two names, is no error.
func TestTheNameInHistoryIsNoHardLink(t *testing.T) {
	a := newArchive(t, &History{})
	g := a.open()
	a.count(g, 1)
	info, err := g.parent.Stat(g.name)
	require.NoError(t, err)
	require.Zero(t, OwnLinks(a.target, info.Inode))
	require.NoError(t, os.Link(a.target, filepath.Join(GuardDir(a.target), historyName, g.keptName(3, time.Now()))))
	require.Equal(t, uint64(1), OwnLinks(a.target, info.Inode))
	h := a.open()
	a.count(h, 1)
	require.NoError(t, os.Link(a.target, a.target+".other"))
	_, err = Open(a.target, a.o)
	require.ErrorIs(t, err, ErrTarget)
}

// A file that was removed comes back with the mode that it had.
func TestRestoreOfARemovedFile(t *testing.T) {
	a := newArchive(t, &History{})
	require.NoError(t, os.Chmod(a.target, 0o640))
	g := a.open()
	a.count(g, 2)
	require.NoError(t, os.Remove(a.target))
	versions, err := g.History(t.Context())
	require.NoError(t, err)
	require.True(t, versions[len(versions)-1].Missing)
	_, err = g.Restore(t.Context(), versions[1], "")
	require.NoError(t, err)
	content, err := os.ReadFile(a.target)
	require.NoError(t, err)
	require.Equal(t, `{"n": 1}`, string(content))
	info, err := os.Stat(a.target)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	}
}

// History is read while others fold: each list is one that there was.
func TestHistoryIsReadWhileOthersFold(t *testing.T) {
	a := newArchive(t, &History{Keep: 1000})
	a.o.Timeout = 0
	g, h := a.open(), a.open()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 60 {
			if _, err := g.Apply(t.Context(), incr("/n")); err != nil {
				t.Error(err)
			}
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		versions, err := h.History(t.Context())
		require.NoError(t, err)
		for i, v := range versions {
			require.False(t, v.Outside, "%d of %d: %+v", i, len(versions), v)
			if v.Current {
				continue // it may be replaced by now
			}
			content, err := h.Content(t.Context(), v)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf(`{"n": %d}`, i), string(content))
		}
	}
	require.Equal(t, counted(0, 60), a.contents(h))
}
