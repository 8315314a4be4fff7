package sidecar

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

var (
	raceRuns  = flag.Int("crash.races", 1500/slower, "how many interleavings of several processes TestCrashRaces runs")
	raceTrace = flag.Int("crash.trace", 400, "how many calls before its end a failing interleaving shows")
	raceOnly  = flag.Int("crash.race", -1, "only this interleaving, as a failure names it")
)

// TestCrashRaces lets up to three processes work on one file, one call to the filesystem at a time, in an order that the
// seed chooses; some are killed at a call and come back as others, and sometimes the power fails for all.
//
//	go test ./sidecar -run TestCrashRaces -crash.races 100000
func TestCrashRaces(t *testing.T) {
	var total counters
	start := time.Now()
	first, last := 0, *raceRuns
	if *raceOnly >= 0 {
		first, last = *raceOnly, *raceOnly+1
	}
	for run := first; run < last && !t.Failed(); run++ {
		s := newScheduler(run)
		err := guarded(func() { check(s.run()) })
		total.add(s.counters)
		if err != nil {
			trace := s.trace[max(0, len(s.trace)-*raceTrace):]
			t.Errorf("%v\n  -crash.seed %d -crash.race %d\n  acknowledged %b, tried %b\n%s\nthe disk:\n%s",
				err, *crashSeed, run, s.w.acked, s.w.tried, strings.Join(trace, "\n"), dump(s.w.mem))
		}
	}
	t.Logf("%d interleavings, %d calls, %d kills, %d power cuts, %d changes acknowledged (seed %d) in %v",
		last-first, total.calls, total.kills, total.cuts, total.acked, *crashSeed, time.Since(start).Round(time.Millisecond))
}

type counters struct{ calls, kills, cuts, acked int }

func (c *counters) add(d counters) {
	c.calls, c.kills, c.cuts, c.acked = c.calls+d.calls, c.kills+d.kills, c.cuts+d.cuts, c.acked+d.acked
}

var racing = []*script{
	{name: "object", target: "a.json", content: document, refused: 1<<7 | 1<<17},
	{name: "new object", target: "a.json"},
	{name: "lines", target: "a.jsonl", content: lines},
	{name: "mount point", target: "a.json", content: document, fault: busy},
}

// scheduler grants one call at a time.
type scheduler struct {
	counters
	w      *world
	r      *rand.Rand
	order  vfs.Order
	asking chan *life
	ended  chan *life
	parked []*life
	change int // the next one
	cut    bool
	trace  []string
	family bool  // the others are children of the first process, and go on under its hold
	parent *life // that holds <target>.lock; nil: nobody of them does
	// asleep is not granted a call before wake, as a process that was stopped between two of them.
	asleep *life
	wake   int
}

// life is one process from its start to its end.
type life struct {
	s      *scheduler
	name   string
	proc   *vfs.MemProcess
	r      *rand.Rand
	dead   bool
	grant  chan struct{}
	call   vfs.Call
	failed error
}

type killed struct{}

func newScheduler(run int) *scheduler {
	r := rand.New(rand.NewPCG(*crashSeed, uint64(run)))
	return &scheduler{
		w: newWorld(racing[r.IntN(len(racing))]), r: r, order: vfs.Order(r.IntN(2)), family: r.IntN(3) == 0,
		asking: make(chan *life), ended: make(chan *life),
	}
}

func (s *scheduler) run() error {
	s.w.boot = "0"
	lives := 2 + s.r.IntN(2)
	for range lives {
		s.start()
	}
	kills, cuts := s.r.IntN(4), s.r.IntN(2)
	const limit = 100_000 // calls; a run has some thousand
	for len(s.parked) > 0 {
		if s.calls++; s.calls > limit {
			return errors.New("no end: somebody waits for ever")
		}
		i := s.pick()
		l := s.parked[i]
		switch {
		case kills > 0 && s.r.IntN(150) == 0:
			kills--
			s.kills++
			s.log(l, "KILLED before")
			s.end(i)
			s.start()
			continue
		case cuts > 0 && s.r.IntN(600) == 0:
			cuts--
			s.cuts++
			s.log(l, "THE POWER FAILS before")
			for len(s.parked) > 0 {
				s.end(0)
			}
			s.w.mem = s.w.mem.Cuts(s.order).Sample(s.r)
			s.w.copied, s.cut = 0, true
			s.w.boot = strconv.Itoa(s.cuts)
			for range lives {
				s.start()
			}
			continue
		}
		s.log(l, "")
		s.parked = append(s.parked[:i], s.parked[i+1:]...)
		s.w.proc = l.proc
		l.grant <- struct{}{}
		if err := s.await(); err != nil {
			return err
		}
	}
	for i := range 64 {
		s.acked += int(s.w.acked >> i & 1)
	}
	s.w.spawn()
	s.w.before = nil
	check(s.w.recover())
	check(s.w.verify(s.cut))
	check(s.w.settled())
	check(s.w.cleaned())
	return s.w.verify(s.cut)
}

// pick chooses who goes on. Now and then one sleeps while the others do much.
func (s *scheduler) pick() int {
	i := s.r.IntN(len(s.parked))
	if s.asleep == nil && s.r.IntN(50) == 0 {
		s.asleep, s.wake = s.parked[i], s.calls+s.r.IntN(500)
	}
	if s.calls >= s.wake || len(s.parked) == 1 {
		s.asleep = nil
	}
	for s.parked[i] == s.asleep {
		i = s.r.IntN(len(s.parked))
	}
	return i
}

func (s *scheduler) log(l *life, what string) {
	s.trace = append(s.trace, fmt.Sprintf("  %s %s %s %s", l.name, what, l.call.Op, strings.TrimPrefix(l.call.Path, home+"/")))
}

// start begins a new process and waits until it asks for its first call.
func (s *scheduler) start() {
	l := &life{
		s: s, name: fmt.Sprintf("P%d", s.kills+s.cuts*10+len(s.parked)), proc: s.w.mem.Process(),
		r: rand.New(rand.NewPCG(s.r.Uint64(), 0)), grant: make(chan struct{}),
	}
	s.w.proc = l.proc
	go l.live()
	check(s.await())
}

// await waits until the process that runs asks for a call or ends.
func (s *scheduler) await() error {
	select {
	case l := <-s.asking:
		s.parked = append(s.parked, l)
		return nil
	case l := <-s.ended:
		return l.failed
	}
}

// end kills a parked process.
func (s *scheduler) end(i int) {
	l := s.parked[i]
	s.parked = append(s.parked[:i], s.parked[i+1:]...)
	l.dead = true
	l.proc.Kill()
	l.grant <- struct{}{}
	<-s.ended
}

func (l *life) fs() vfs.FS {
	return vfs.NewFaults(l.proc, func(c vfs.Call) vfs.Fault {
		if !l.dead {
			l.call = c
			l.s.asking <- l
			<-l.grant
		}
		switch {
		case !l.dead:
			if l.s.w.script.fault != nil {
				return vfs.Fault{Err: l.s.w.script.fault(l.s.w, c)}
			}
			return vfs.Fault{}
		case c.Op == "lock" || c.Op == "close": // not of the goroutine that must end, or on its way out
			return vfs.Fault{Err: vfs.ErrKilled}
		}
		panic(killed{})
	})
}

func (l *life) live() {
	defer func() {
		r := recover()
		if b, ok := r.(broken); ok && !l.dead {
			l.failed = b.err
		} else if _, ok := r.(killed); r != nil && !ok && !l.dead {
			l.failed = fmt.Errorf("panic: %v", r)
		}
		l.s.ended <- l
	}()
	l.work()
}

// work is a random program of a process.
func (l *life) work() {
	w := l.s.w
	g := l.open()
	for range 1 + l.r.IntN(4) {
		switch op := l.r.IntN(20); {
		case op < 6:
			l.tolerate(w.journal(g, l.next()))
		case op < 10:
			l.tolerate(w.apply(g, l.next()))
		case op < 13:
			l.tolerate(w.update(g, l.accepted()))
		case op < 15:
			check(w.flush(g))
		case op == 15:
			_, err := g.Read(context.Background())
			l.tolerateMissing(err)
		case op == 16:
			_, err := g.Clean(context.Background())
			check(err)
		case op == 17:
			check(g.Close())
			g = l.open()
		default:
			l.edit(g)
		}
	}
	check(g.Close())
}

// edit is a private copy from its start to its end.
func (l *life) edit(g *Guard) {
	w := l.s.w
	v, err := g.View(context.Background())
	var torn *merge.SyntaxError
	if w.script.fault != nil && errors.As(err, &torn) {
		return // a mount point is overwritten in place: a reader without the lock may see a part
	}
	check(err)
	for range l.r.IntN(3) {
		i := l.accepted()
		content, err := readCopy(v.dir, w.script.target)
		if errors.Is(err, errCopyGone) {
			break // there was no target to copy
		}
		check(err)
		w.writeCopy(v, w.edit(content, i))
		w.copied |= 1 << i
		if l.r.IntN(2) == 0 {
			_, err := v.Submit(context.Background())
			l.tolerate(w.done(err, i))
		}
	}
	_, err = v.Close(context.Background())
	l.tolerate(err)
}

func (l *life) open() *Guard {
	g, err := guardOn(l.fs(), l.s.w.script.target, Options{Command: l.name, Timeout: time.Hour})
	check(err)
	g.boot = "boot" + l.s.w.boot
	if l.s.family {
		g.seams.lockTarget = l.lockInFamily(g.parent)
	}
	return g
}

// lockInFamily is flock for the parent, which does not wait for its children at all; they go on under its hold.
func (l *life) lockInFamily(dir vfs.Dir) func(context.Context, string, time.Duration) (targetLock, error) {
	return func(ctx context.Context, name string, wait time.Duration) (targetLock, error) {
		f, err := dir.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		free, err := f.TryLock()
		if err == nil && !free {
			if p := l.s.parent; p != nil && !p.dead && p != l {
				return heldByTree{}, f.Close()
			}
			err = waitLock(ctx, f, wait)
		}
		if err != nil {
			return nil, err
		}
		if l.name == "P0" {
			l.s.parent = l
		}
		return &familyLock{memLock{f}, l}, nil
	}
}

type familyLock struct {
	memLock
	l *life
}

func (f *familyLock) Release() error {
	if f.l.s.parent == f.l {
		f.l.s.parent = nil
	}
	return f.memLock.Release()
}

// next is a change that nobody made yet.
func (l *life) next() int {
	l.s.change++
	if l.s.change > 60 {
		panic(killed{}) // more than there are bits
	}
	return l.s.change
}

// accepted is one that is not refused: an Update fails as a whole then.
func (l *life) accepted() int {
	for {
		if i := l.next(); l.s.w.script.refused>>i&1 == 0 {
			return i
		}
	}
}

// tolerate lets refused changes pass.
func (l *life) tolerate(err error) {
	if errors.Is(err, ErrRejected) {
		return
	}
	if err != nil && strings.Contains(err.Error(), "wrong type") {
		return // an Apply that was refused at once: nothing was promised
	}
	check(err)
}

func (l *life) tolerateMissing(err error) {
	if !isMissing(err) {
		check(err)
	}
}
