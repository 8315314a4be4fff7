package sidecar

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"jsonguard/internal/vfs"
)

var (
	crashStates = flag.Int("crash.states", 60_000/slower, "how many disks that a crash can leave TestCrash recovers from")
	crashSeed   = flag.Uint64("crash.seed", 1, "chooses among what cannot be enumerated")
	crashOnly   = flag.String("crash.only", "", "name of one script")
	crashPath   = flag.Int("crash.path", -1, "follow only this path, as a failure names it")
)

// TestCrash runs each script once and stops the world before every call to the filesystem that changes something: by
// a kill, which loses nothing, and by a power cut, which loses any subset of what was not synced. From each disk that
// is left a new process recovers, is stopped in the same ways at its own calls, and so on, until one recovery comes
// to its end. Then every promise is checked.
//
//	go test ./sidecar -run TestCrash -crash.states 5000000
func TestCrash(t *testing.T) {
	var chosen []*script
	for _, s := range scripts {
		if *crashOnly == "" || s.name == *crashOnly {
			chosen = append(chosen, s)
		}
	}
	var all []*explorer
	for _, s := range chosen {
		all = append(all, &explorer{script: s, seen: map[uint64]struct{}{}})
	}
	// States live for microseconds: collecting them seldom is cheap, up to a limit.
	defer debug.SetGCPercent(debug.SetGCPercent(1600))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(3 << 30))
	start := time.Now()
	// Some scripts have fewer states than their share: what they leave goes to the others.
	for share, left := 0, *crashStates; left > len(all); {
		share += left / max(1, unfinished(all))
		exploreAll(t, all, share)
		if left = *crashStates; unfinished(all) == 0 {
			break
		}
		for _, e := range all {
			left -= e.states
		}
	}
	total, points := 0, 0
	for _, e := range all {
		t.Run(e.script.name, func(t *testing.T) {
			t.Logf("%d states from %d points", e.states, e.points)
			for _, f := range e.failures {
				t.Error(f)
			}
		})
		total += e.states
		points += e.points
	}
	t.Logf("%d different states after a crash recovered from (%d scripts, %d points, seed %d) in %v",
		total, len(all), points, *crashSeed, time.Since(start).Round(time.Millisecond))
}

func unfinished(all []*explorer) (n int) {
	for _, e := range all {
		if !e.finished {
			n++
		}
	}
	return n
}

// exploreAll lets every explorer visit up to budget states.
func exploreAll(t *testing.T, all []*explorer, budget int) {
	queue := make(chan *explorer, len(all))
	for _, e := range all {
		if e.finished {
			continue
		}
		e.budget = budget
		queue <- e
	}
	close(queue)
	// A bubble: the clock stands still, so that records are as long in every run.
	synctest.Test(t, func(t *testing.T) {
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() {
				for e := range queue {
					e.explore()
				}
			})
		}
		workers.Wait()
		time.Sleep(time.Minute) // for those that gave up waiting for a lock and were left behind
	})
}

// explorer visits the states of one script.
type explorer struct {
	script   *script
	budget   int
	recorded []*point // of the script
	path     int
	finished bool // nearly everything that chance finds was seen, or enough is broken
	states   int
	points   int
	failures []string
	seen     map[uint64]struct{}
}

// point is a moment just before a call.
type point struct {
	mem *vfs.Mem
	promises
	call vfs.Call
	cuts [2]*vfs.Cuts // by order, made when needed
}

func (p *point) cutsIn(o vfs.Order) *vfs.Cuts {
	if p.cuts[o] == nil {
		p.cuts[o] = p.mem.Cuts(o)
	}
	return p.cuts[o]
}

// branches is how many disks are recovered from at each crash of a way besides the one that the way goes on from.
const branches = 16

const maxFailures = 3 // of one script; one is enough to know

func (e *explorer) explore() {
	if e.recorded == nil {
		var err error
		if e.recorded, err = record(newWorld(e.script), e.script.run); err != nil {
			e.failures = append(e.failures, fmt.Sprintf("without any crash: %v", err))
			e.finished = true
			return
		}
		e.points = len(e.recorded)
		if *crashPath >= 0 {
			e.follow(e.recorded, *crashPath)
			e.finished = true
			return
		}
		e.enumerate(e.recorded)
	}
	// What is left of the budget goes into crashes within crashes.
	for known := 0; e.states < e.budget && !e.finished; e.path++ {
		before := e.states
		e.follow(e.recorded, e.path)
		if known++; e.states > before {
			known = 0
		}
		const enough = 1000 // ways in a row that led to nothing new
		e.finished = known > enough || len(e.failures) >= maxFailures
	}
}

// record runs something in w and keeps the moment before each call that changes anything, and the last one.
func record(w *world, run func(w *world)) (points []*point, err error) {
	keep := func(c vfs.Call) {
		if c.Changes() {
			points = append(points, &point{mem: w.mem.Clone(), promises: w.promises, call: c})
		}
	}
	w.before = keep
	err = guarded(func() { run(w) })
	w.before = nil
	keep(vfs.Call{Op: "sync", Path: "the end"})
	return points, err
}

// guarded turns a panic into an error.
func guarded(do func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = r.err
		default:
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	do()
	return nil
}

func (e *explorer) orders() []vfs.Order {
	if e.script.inOrder {
		return []vfs.Order{vfs.InOrder}
	}
	return []vfs.Order{vfs.AnyOrder, vfs.InOrder}
}

// enumerate visits every disk of every point, as far as a third of the budget reaches; where a point has too many, the
// two ends and a sample.
func (e *explorer) enumerate(points []*point) {
	share := max(2, e.budget/3/len(points)/len(e.orders()))
	for n, p := range points {
		if len(e.failures) >= maxFailures {
			return
		}
		e.finish(p.mem.Clone(), p, false, 0, false, func() string { return fmt.Sprintf("point %d: %s", n, stopped(false, p)) })
		for _, order := range e.orders() {
			cuts := p.cutsIn(order)
			count := cuts.Count()
			for i := range min(count, share) {
				var disk *vfs.Mem
				switch {
				case count <= share:
					disk = cuts.Disk(i)
				case i < 2:
					disk = cuts.Disk(i * (count - 1))
				default:
					disk = cuts.Sample(rand.New(rand.NewPCG(*crashSeed, uint64(n)<<32|uint64(i))))
				}
				e.finish(disk, p, false, 0, true, func() string { return fmt.Sprintf("point %d: %s, disk %d of %d", n, stopped(true, p), i, count) })
			}
		}
	}
}

// follow goes one way by chance: a crash, a recovery that crashes, perhaps another one, and a recovery to the end.
func (e *explorer) follow(points []*point, path int) {
	r := rand.New(rand.NewPCG(*crashSeed^hashOf(e.script.name), uint64(path)))
	depth := 2 + r.IntN(2)
	powerCut, boot := false, 0
	trail := []string{fmt.Sprintf("-crash.only %q -crash.seed %d -crash.path %d", e.script.name, *crashSeed, path)}
	for range depth {
		for range branches {
			p := points[r.IntN(len(points))]
			mem, cut := e.crash(p, r)
			e.finish(mem, p, powerCut, boot, cut, func() string {
				return strings.Join(append(trail, stopped(cut, p)), "\n  ")
			})
		}
		p := points[r.IntN(len(points))]
		mem, cut := e.crash(p, r)
		powerCut = powerCut || cut
		trail = append(trail, stopped(cut, p))
		if cut {
			boot++
		}
		w := e.script.crashed(mem, p.promises, strconv.Itoa(boot))
		if e.script.inOrder && r.IntN(3) == 0 {
			w.outsiderAdds(40 + len(trail)) // somebody is faster than recovery
			mem = w.mem
		}
		start := mem.Clone()
		var err error
		points, err = record(w, func(w *world) { check(w.recover()) })
		e.judge(w, start, powerCut, err, func() string { return strings.Join(trail, "\n  ") })
		if err != nil {
			return
		}
	}
}

func stopped(powerCut bool, p *point) string {
	how := "killed"
	if powerCut {
		how = "power cut"
	}
	return how + " before " + describe(p.call)
}

func (e *explorer) crash(p *point, r *rand.Rand) (mem *vfs.Mem, powerCut bool) {
	if r.IntN(3) == 0 {
		return p.mem.Clone(), false
	}
	orders := e.orders()
	return p.cutsIn(orders[r.IntN(len(orders))]).Sample(r), true
}

// finish recovers from one disk. before says whether the power failed earlier, cut whether it did now.
func (e *explorer) finish(mem *vfs.Mem, p *point, before bool, boot int, cut bool, how func() string) {
	powerCut := before || cut
	if e.known(mem, p.promises, powerCut) {
		return
	}
	start := mem.Clone()
	if cut {
		boot++
	}
	w := e.script.crashed(mem, p.promises, strconv.Itoa(boot))
	err := guarded(func() { check(w.recover()) })
	e.count(w, start, powerCut, err, how)
}

// judge is finish for a recovery that was recorded.
func (e *explorer) judge(w *world, start *vfs.Mem, powerCut bool, err error, how func() string) {
	if !e.known(start, w.promises, powerCut) {
		e.count(w, start, powerCut, err, how)
	}
}

func (e *explorer) known(mem *vfs.Mem, p promises, powerCut bool) bool {
	h := mem.Hash(hashSeed) ^ p.acked*0x9e3779b97f4a7c15 ^ p.copied<<40
	if powerCut {
		h = ^h
	}
	_, known := e.seen[h]
	e.seen[h] = struct{}{}
	return known
}

func (e *explorer) count(w *world, start *vfs.Mem, powerCut bool, err error, how func() string) {
	e.states++
	if err == nil {
		err = guarded(func() {
			check(w.verify(powerCut))
			check(w.settled())
			if e.states%4 == 0 { // cleaning costs as much as recovering
				check(w.cleaned())
				check(w.verify(powerCut))
			}
		})
	}
	if err == nil {
		return
	}
	var b strings.Builder
	what := err.Error()
	if len(what) > 400 {
		what = what[:200] + " … " + what[len(what)-200:]
	}
	fmt.Fprintf(&b, "%s\n  %s\n  acknowledged %b, tried %b\nthe disk that was left:\n%safter recovery:\n%s", what, how(), w.acked, w.tried, dump(start), dump(w.mem))
	e.failures = append(e.failures, b.String())
}

func dump(m *vfs.Mem) string {
	var b strings.Builder
	tree := m.Tree()
	for _, path := range vfs.Paths(tree) {
		text := strings.NewReplacer(pad, "PAD", strings.Repeat("p", 40), "PPP", strings.Repeat("\x00", 16), "0").Replace(tree[path])
		if strings.HasSuffix(path, "/") {
			continue
		}
		fmt.Fprintf(&b, "    %s %q\n", path, text)
	}
	return b.String()
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

func describe(c vfs.Call) string { return fmt.Sprintf("%d: %s %s", c.N, c.Op, c.Path) }
