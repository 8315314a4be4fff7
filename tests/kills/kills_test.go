//go:build unix

package kills

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rounds are what happens to a file, over and over; each kills a few processes.
var rounds = []func(*arena) error{killAtTheLock, killAtTheLock, killFolders, killRecoverers, killRunners}

// killAtTheLock kills the holder of the lock and those who wait for it, in any order.
func killAtTheLock(a *arena) error {
	h, err := a.start(holder)
	if err != nil {
		return err
	}
	if err := h.said("held"); err != nil {
		return err
	}
	all := []*process{h}
	for range 3 {
		w, err := a.start(waiter)
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	for _, w := range all[1:] {
		if err := w.hasTried(); err != nil {
			return err
		}
	}
	a.pause(4 * time.Millisecond)
	a.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	held := true
	for _, p := range all {
		part := p.role
		if part == waiter && !held {
			part = folder // the lock is free: one of them folds for all
		}
		if err := p.kill(part); err != nil {
			return err
		}
		if p == h {
			held = false
			a.pause(4 * time.Millisecond)
		}
	}
	return nil
}

// killFolders kills processes that fold all the time.
func killFolders(a *arena) error {
	return a.killSome(3, folder, func(p *process) error { return p.hasTried() })
}

// killRecoverers kills processes that fold what the dead have left.
func killRecoverers(a *arena) error {
	return a.killSome(3, recoverer, func(p *process) error { return p.said("recovering") })
}

func (a *arena) killSome(n int, role string, ready func(*process) error) error {
	var all []*process
	for range n {
		p, err := a.start(role)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	for _, p := range all {
		if err := ready(p); err != nil {
			return err
		}
		a.pause(6 * time.Millisecond)
		if err := p.kill(role); err != nil {
			return err
		}
	}
	return nil
}

// killRunners kills programs under exec, their wrappers, or both.
func killRunners(a *arena) error {
	var all []*process
	for range 3 {
		p, err := a.start(wrapper)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	parts := []string{wrapper, runner, group}
	a.random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for i, p := range all {
		if err := p.hasTried(); err != nil {
			return err
		}
		a.pause(20 * time.Millisecond)
		if err := p.kill(parts[i]); err != nil {
			return err
		}
		if parts[i] == wrapper { // its program goes on alone, and finishes what it writes
			a.pause(6 * time.Millisecond)
			if err := p.kill(runner); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestKills kills processes at many files, one after the other, and checks each.
func TestKills(t *testing.T) {
	t.Logf("seed %d", *seed)
	began := time.Now()
	var mu sync.Mutex
	killed, total, files, acked, failed := map[string]int{}, 0, 0, 0, false
	one := func(n int) error {
		dir, err := os.MkdirTemp(memory(), "jsonguard-kills-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		a, err := newArena(dir, rand.New(rand.NewPCG(*seed, uint64(n))))
		if err != nil {
			return err
		}
		for _, i := range a.random.Perm(len(rounds)) {
			if err == nil {
				err = rounds[i](a)
			}
		}
		a.end()
		if err == nil {
			err = a.check()
		}
		mu.Lock()
		defer mu.Unlock()
		for part, n := range a.killed {
			killed[part] += n
			total += n
		}
		files++
		acked += len(a.acked)
		return err
	}
	var arenas sync.WaitGroup
	next := 0
	for range runtime.GOMAXPROCS(0) + 2 { // processes wait for each other
		arenas.Go(func() {
			for {
				mu.Lock()
				n, over := next, total >= *kills || failed
				next++
				mu.Unlock()
				if over {
					return
				}
				if err := one(n); err != nil {
					t.Errorf("file %d: %v", n, err)
					mu.Lock()
					failed = true
					mu.Unlock()
				}
			}
		})
	}
	arenas.Wait()
	if failed {
		return
	}
	var parts []string
	for part, n := range killed {
		parts = append(parts, fmt.Sprintf("%s %d", part, n))
	}
	sort.Strings(parts)
	t.Logf("%d processes killed (%s) at %d files, %d changes acknowledged, lost 0, doubled 0, in %v", total, strings.Join(parts, ", "), files, acked, time.Since(began).Round(time.Second))
	require.Len(t, killed, 7, "a part was not played")
}

// memory is a directory in memory, where that can be had: what a kill leaves does not depend on the disk.
func memory() string {
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// TestAStoppedHolder stops the holder of the lock: it is not dead. Who waits no longer than its timeout is told who holds the
// lock, and nothing of its change is lost; who waits longer goes on when the holder does.
func TestAStoppedHolder(t *testing.T) {
	a, err := newArena(t.TempDir(), rand.New(rand.NewPCG(*seed, 0)))
	require.NoError(t, err)
	defer a.end()
	h, err := a.start(holder)
	require.NoError(t, err)
	require.NoError(t, h.said("held"))
	pid := h.cmd.Process.Pid
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	began := time.Now()
	w, err := a.start(waiter)
	require.NoError(t, err)
	require.NoError(t, w.hasTried())

	cmd := jsonguard("incr", "--timeout", "500ms", a.file, "/alone")
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "%s", out)
	require.Equal(t, 75, cmd.ProcessState.ExitCode(), "%s", out)
	require.Contains(t, string(out), fmt.Sprintf("held by process %d ", pid))
	want := map[bool]int{false: 1, true: 0}[strings.Contains(string(out), "kept pending")] // status of get
	if left := *stopped - time.Since(began); left > 0 {
		time.Sleep(left)
	}
	a.mu.Lock()
	acked := len(a.acked)
	a.mu.Unlock()
	require.Zero(t, acked, "somebody went past a holder that lives")

	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	require.NoError(t, h.stdin.Close())
	require.NoError(t, h.cmd.Wait(), "%s", &h.errs)
	h.done = true
	require.Eventually(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.acked["waiter2-0"] && a.acked["holder1-0"]
	}, patience, 5*time.Millisecond)
	a.end()
	require.NoError(t, a.check())
	get := jsonguard("get", a.file, "/alone")
	_ = get.Run()
	require.Equal(t, want, get.ProcessState.ExitCode(), "%s", out)
}
