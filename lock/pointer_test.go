package lock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each pair is tried between two processes, in both orders.
var pairs = []struct {
	a, b     string
	together bool
	why      string
}{
	{"/a", "/a", false, "the same"},
	{"/a", "/b", true, "neighbours"},
	{"/a", "/a/x", false, "above and below"},
	{"/a", "/a/x/y/z", false, "far above"},
	{"", "/a", false, "the document is above everything"},
	{"", "", false, "the document"},
	{"/a/x", "/a/y", true, "neighbours further down"},
	{"/a/x", "/b/x", true, "the same name elsewhere"},
	{"/a", "/ab", true, "a name that begins like another is not below it"},
	{"/a/", "/a", false, "the empty name is a name"},
	{"/a/", "/a/x", true, "the empty name has neighbours"},
	{"/", "/a", true, "the empty name on top"},
	{"/a~1b", "/a", true, "a slash in a name is no step"},
	{"/a~1b", "/a/b", true, "nor is it the same place"},
	{"/a~0", "/a~0/1", false, "a tilde in a name"},
	{"/list/0", "/list/1", true, "elements"},
	{"/list/-", "/list/0", true, "the place behind the last is a name here"},
}

func TestPointers(t *testing.T) {
	for _, c := range pairs {
		for _, order := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			t.Run(fmt.Sprintf("%q then %q", order[0], order[1]), func(t *testing.T) {
				path := target(t, "{}")
				p := hold(t, path, "at="+order[0])
				require.Equal(t, c.together, !busy(t, path, At(order[1])), c.why)
				p.end()
				l, err := Acquire(context.Background(), path, At(order[0]))
				require.NoError(t, err)
				require.Equal(t, c.together, !busy(t, path, At(order[1])), "goroutines: "+c.why)
				require.NoError(t, l.Release())
				require.False(t, busy(t, path, At(order[1])))
			})
		}
	}
}

func TestPointersShared(t *testing.T) {
	path := target(t, "{}")
	p := hold(t, path, "at=/a", "shared")
	require.False(t, busy(t, path, At("/a"), Shared()))
	require.False(t, busy(t, path, At("/a/x"), Shared()))
	require.False(t, busy(t, path, At(""), Shared()))
	require.True(t, busy(t, path, At("/a")))
	require.True(t, busy(t, path, At("/a/x")))
	require.True(t, busy(t, path, At("")))
	require.False(t, busy(t, path, At("/b")))
	p.end()
	require.False(t, busy(t, path, At("/a")))
}

// A space of its own: who holds a place does not keep out who holds the file.
func TestPointersAndTheFile(t *testing.T) {
	path := target(t, "{}")
	hold(t, path, "at=")
	require.False(t, busy(t, path))
	hold(t, path)
	require.True(t, busy(t, path))
	require.True(t, busy(t, path, At("/a")))
}

func TestADeadHolderOfAPointerBlocksNobody(t *testing.T) {
	path := target(t, "{}")
	for range 5 {
		p := hold(t, path, "at=/a/b")
		require.True(t, busy(t, path, At("/a")))
		got := acquireAndRelease(path, At("/a"))
		p.kill()
		require.NoError(t, <-got)
	}
}

func TestPointersExcludeUnderLoad(t *testing.T) {
	const procs, each = 8, 30
	path := target(t, "0")
	var all []*process
	for range procs {
		all = append(all, start(t, "count", []string{strconv.Itoa(each), path, "at=/counter"}))
	}
	for _, p := range all {
		p.end()
	}
	requireCount(t, path, procs*each)
}

// Waiters at different depths never wait for each other in a circle.
func TestPointersDoNotDeadlock(t *testing.T) {
	path := target(t, "{}")
	var all sync.WaitGroup
	for _, at := range []string{"", "/a", "/a/b", "/a/b/c", "/a/c", "/b"} {
		all.Go(func() {
			for range 30 {
				l, err := Acquire(context.Background(), path, At(at), Timeout(2*time.Minute))
				if err != nil {
					t.Error(err)
					return
				}
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestPointerErrors(t *testing.T) {
	path := target(t, "{}")
	_, err := Acquire(context.Background(), path, At("a/b"))
	require.ErrorContains(t, err, `must start with a slash: did you mean "/a/b"`)
	_, err = Acquire(context.Background(), path, At("/a~b"))
	require.ErrorContains(t, err, "a tilde is written ~0")
	require.NoDirExists(t, GuardDir(path), "a bad pointer leaves nothing behind")

	ctx, cancel := context.WithCancel(context.Background())
	hold(t, path, "at=/a")
	go func() {
		time.Sleep(20 * time.Millisecond)
		cancel()
	}()
	_, err = Acquire(ctx, path, At("/a"))
	require.ErrorIs(t, err, context.Canceled)
}

// The one who is named holds something that is in the way, not a neighbour.
func TestHolderOfAPointerIsNamed(t *testing.T) {
	path := target(t, "{}")
	first := hold(t, path, "at=/a/b")
	hold(t, path, "at=/z")
	hold(t, path)
	for _, at := range []string{"/a/b", "/a", "", "/a/b/c"} {
		_, err := Acquire(context.Background(), path, At(at), Timeout(0))
		require.ErrorIs(t, err, ErrTimeout)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.NotNil(t, e.Holder, at)
		if at != "" { // there it may as well be the one at /z
			require.Equal(t, first.cmd.Process.Pid, e.Holder.PID, at)
		}
		require.Contains(t, err.Error(), fmt.Sprintf("pointers at %q: lock timeout, held by process ", at))
	}
}

// Under an ancestor's hold of the place or of something above it a child goes on; elsewhere it waits like everybody.
func TestPointersAreInherited(t *testing.T) {
	path := target(t, "{}")
	for _, c := range []struct {
		mine   []Option
		theirs []string
		gets   bool
	}{
		{[]Option{At("/a")}, []string{"at=/a"}, true},
		{[]Option{At("/a")}, []string{"at=/a/b"}, true},
		{[]Option{At("")}, []string{"at=/a/b"}, true},
		{[]Option{At("/a"), Shared()}, []string{"at=/a", "shared"}, false}, // it gets its own
		{[]Option{At("/a")}, []string{"at=/a", "shared"}, true},
	} {
		l, err := Acquire(context.Background(), path, c.mine...)
		require.NoError(t, err)
		require.Equal(t, outcome{Inherited: c.gets}, acquire(t, path, append(c.theirs, "inherit")), c.theirs)
		require.NoError(t, l.Release())
	}
	for _, c := range []struct {
		mine   []Option
		theirs []string
	}{
		{[]Option{At("/a/b")}, []string{"at=/a"}},
		{[]Option{At("/a"), Shared()}, []string{"at=/a"}},
		{[]Option{At("/a"), Shared()}, []string{"at=/a/b"}},
	} {
		l, err := Acquire(context.Background(), path, c.mine...)
		require.NoError(t, err)
		said := acquire(t, path, append(c.theirs, "inherit", "timeout=20ms"))
		require.True(t, said.Timeout, "%v: %+v", c.theirs, said)
		require.NoError(t, l.Release())
	}
	hold(t, path, "at=/a")
	require.True(t, acquire(t, path, []string{"at=/a", "inherit", "timeout=0"}).Timeout, "a sibling is no ancestor")
}

// What jsonguard clean removes is made again, and who held it learns that.
func TestPointersFileRemoved(t *testing.T) {
	path := target(t, "{}")
	p := hold(t, path, "at=/a")
	p.say("check").expect("ok")
	waiting := start(t, "hold", []string{path, "at=/a"})
	require.Eventually(t, func() bool { return waiting.cmd.Process != nil && busy(t, path, At("/a")) }, time.Minute, 10*time.Millisecond)
	time.Sleep(50 * time.Millisecond) // it waits by now, or comes later and finds nothing: both must end well
	require.NoError(t, os.RemoveAll(GuardDir(path)))
	p.say("check").expect("lost")
	p.end()
	waiting.expect("held").say("check").expect("ok")
	require.True(t, busy(t, path, At("/a")))
	waiting.end()
	require.FileExists(t, filepath.Join(GuardDir(path), pointersName))
}
