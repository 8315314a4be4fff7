package sidecar

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
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
		// A bubble: who sleeps or waits for another is known to, and sleeping takes no time.
		synctest.Test(t, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, *crashSeed<<32|uint64(run)) // names are chosen by chance, and tell the order in which files are met
			s := newScheduler(run)
			err := guarded(func() { check(s.run()) })
			s.killAll()
			total.add(s.counters)
			if err != nil {
				var trace strings.Builder
				for _, c := range s.trace[max(0, len(s.trace)-*raceTrace):] {
					fmt.Fprintln(&trace, c)
				}
				t.Errorf("%v\n  -crash.seed %d -crash.race %d, %s\n  acknowledged %b, tried %b\n%sthe disk:\n%s",
					err, *crashSeed, run, s.w.script.name, s.w.acked, s.w.tried, trace.String(), dump(s.w.mem))
			}
		})
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
	{name: "programs", target: "a.json", content: summed, options: sums, programs: true},
	{name: "programs make the file", target: "a.json", options: sums, programs: true},
	{name: "programs and lines", target: "a.jsonl", content: lines, programs: true},
}

// scheduler grants one call at a time.
type scheduler struct {
	counters
	w     *world
	r     *rand.Rand
	order vfs.Order

	mu      sync.Mutex // threads that wake up together ask together
	parked  []*asking
	lives   []*life
	threads int
	failed  error

	named  int
	change int // the next one
	cut    bool
	trace  []traced
	family bool  // the others are children of the first process, and go on under its hold
	parent *life // that holds <target>.lock; nil: nobody of them does
	// asleep is not granted a call before wake, as a process that was stopped between two of them.
	asleep *life
	wake   int
}

// asking is a call that waits until it is granted.
type asking struct {
	of    *life
	call  vfs.Call
	grant chan struct{}
}

// life is one process from its start to its end.
type life struct {
	s       *scheduler
	name    string
	proc    *vfs.MemProcess
	r       *rand.Rand
	died    chan struct{} // closed when it is killed
	guards  []*Guard
	threads int         // that use these
	super   *supervisor // where it is one
	program *program    // where it is one
}

type killed struct{}

func newScheduler(run int) *scheduler {
	r := rand.New(rand.NewPCG(*crashSeed, uint64(run)))
	scripts := racing
	if slower > 1 { // a killed supervisor's threads end at once, which is nothing but a race of this test
		scripts = slices.DeleteFunc(slices.Clone(racing), func(x *script) bool { return x.programs })
	}
	return &scheduler{w: newWorld(scripts[r.IntN(len(scripts))]), r: r, order: vfs.Order(r.IntN(2)), family: r.IntN(3) == 0}
}

func (s *scheduler) run() error {
	s.w.boot = "0"
	lives := 2 + s.r.IntN(2)
	for range lives {
		s.start()
	}
	kills, cuts := s.r.IntN(4), s.r.IntN(2)
	const limit = 100_000 // calls; a run has some thousand
	for s.settle() {
		if s.calls++; s.calls > limit {
			return errors.New("no end: somebody waits for ever")
		}
		if len(s.parked) == 0 || s.r.IntN(40) == 0 {
			time.Sleep(time.Millisecond) // who sleeps goes on
			continue
		}
		i := s.pick()
		a := s.parked[i]
		switch {
		case kills > 0 && s.r.IntN(150) == 0:
			kills--
			s.kills++
			s.log(a, "KILLED before")
			s.kill(a.of)
			continue
		case cuts > 0 && s.r.IntN(600) == 0:
			cuts--
			s.cuts++
			s.log(a, "THE POWER FAILS before")
			s.killAll()
			s.w.mem = s.w.mem.Cuts(s.order).Sample(s.r)
			s.w.copied, s.cut = 0, true
			s.w.boot = strconv.Itoa(s.cuts)
			for range lives {
				s.start()
			}
			continue
		}
		s.log(a, "")
		s.parked = slices.Delete(s.parked, i, i+1)
		s.w.proc = a.of.proc
		close(a.grant)
	}
	if s.failed != nil {
		return s.failed
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

// rest waits until every thread asks for a call, waits for another, sleeps, or has ended.
func (s *scheduler) rest() {
	synctest.Wait()
	s.mu.Lock() // what a thread did before it ended comes before what others do
	defer s.mu.Unlock()
}

// settle says whether any thread is left, and puts those that ask in order.
func (s *scheduler) settle() bool {
	s.rest()
	slices.SortStableFunc(s.parked, func(a, b *asking) int {
		return cmp.Or(strings.Compare(a.of.name, b.of.name), strings.Compare(a.call.Op, b.call.Op), strings.Compare(a.call.Path, b.call.Path))
	})
	return s.threads > 0 && s.failed == nil
}

// traced is a call, and what came before it.
type traced struct {
	life, what string
	call       vfs.Call
}

func (c traced) String() string {
	return fmt.Sprintf("  %s %s %s %s", c.life, c.what, c.call.Op, strings.TrimPrefix(c.call.Path, home+"/"))
}

// pick chooses who goes on. Now and then one sleeps while the others do much.
func (s *scheduler) pick() int {
	i := s.r.IntN(len(s.parked))
	if idle := s.parked[i].call.Op; (idle == "lock" || idle == "wait" || idle == "fold") && s.r.IntN(4) > 0 {
		i = s.r.IntN(len(s.parked)) // who tries again and again does not need every other call
	}
	if s.asleep == nil && s.r.IntN(50) == 0 {
		s.asleep, s.wake = s.parked[i].of, s.calls+s.r.IntN(500)
	}
	if s.calls >= s.wake || !slices.ContainsFunc(s.parked, func(a *asking) bool { return a.of != s.asleep }) {
		s.asleep = nil
	}
	for s.parked[i].of == s.asleep {
		i = s.r.IntN(len(s.parked))
	}
	return i
}

func (s *scheduler) log(a *asking, what string) {
	s.trace = append(s.trace, traced{a.of.name, what, a.call})
}

// start begins a new process and waits until it asks for its first call.
func (s *scheduler) start() {
	l := s.newLife("P")
	do := l.work
	if s.w.script.programs && s.r.IntN(3) > 0 {
		do = l.supervise
	}
	l.run(do)
	s.rest()
}

func (s *scheduler) newLife(kind string) *life {
	l := &life{
		s: s, name: fmt.Sprintf("%s%d", kind, s.named), proc: s.w.mem.Process(),
		r: rand.New(rand.NewPCG(s.r.Uint64(), 0)), died: make(chan struct{}),
	}
	s.named++
	s.lives = append(s.lives, l)
	return l
}

// kill ends a process, whatever it waits for. Another one takes its place.
func (s *scheduler) kill(l *life) {
	s.end(l)
	switch {
	case l.program != nil:
		l.program.gone(true)
	case l.super != nil && s.r.IntN(2) == 0: // its guardian kills what it left; else they live on for a while
		for _, p := range slices.Clone(l.super.programs) {
			s.end(p.life)
			p.gone(true)
		}
		fallthrough
	default:
		s.start()
	}
}

func (s *scheduler) end(l *life) {
	if l.dead() {
		return
	}
	close(l.died)
	l.proc.Kill()
	s.rest()
	var its []*asking
	s.parked = slices.DeleteFunc(s.parked, func(a *asking) bool {
		if a.of == l {
			its = append(its, a)
		}
		return a.of == l
	})
	for _, a := range its {
		close(a.grant)
		s.rest()
	}
}

func (s *scheduler) killAll() {
	for _, l := range s.lives {
		s.end(l)
	}
	s.lives = nil
	for range 1000 {
		if s.rest(); s.threads == 0 {
			break
		}
		time.Sleep(time.Minute) // for those that sleep
	}
}

func (l *life) dead() bool {
	select {
	case <-l.died:
		return true
	default:
		return false
	}
}

func (l *life) fs() vfs.FS { return vfs.NewFaults(l.proc, l.before) }

// before is called before each call of l to the filesystem, and returns when it may be made.
func (l *life) before(c vfs.Call) vfs.Fault {
	if !l.dead() && !l.busy() {
		a := &asking{l, c, make(chan struct{})}
		l.s.mu.Lock()
		l.s.parked = append(l.s.parked, a)
		l.s.mu.Unlock()
		<-a.grant
	}
	switch {
	case !l.dead():
		if l.s.w.script.fault != nil {
			return vfs.Fault{Err: l.s.w.script.fault(l.s.w, c)}
		}
		return vfs.Fault{}
	case c.Op == "lock" || c.Op == "close": // not of the goroutine that must end, or on its way out
		return vfs.Fault{Err: vfs.ErrKilled}
	}
	panic(killed{})
}

// busy: another thread of the process may wait for a mutex, of which no bubble knows. So nobody stops who holds one.
func (l *life) busy() bool {
	if l.threads < 2 {
		return false
	}
	free := func(mu *sync.Mutex) bool {
		ok := mu.TryLock()
		if ok {
			mu.Unlock()
		}
		return ok
	}
	for _, g := range l.guards {
		if !g.mu.TryLock() {
			return true
		}
		st := g.store
		g.mu.Unlock()
		if st != nil && !free(&st.settled.mu) || g.session != nil && (!free(&g.session.mu) || g.session.store != nil && !free(&g.session.store.settled.mu)) {
			return true
		}
	}
	return false
}

// run begins a thread of the process.
func (l *life) run(do func()) {
	l.s.mu.Lock()
	l.s.threads++
	l.s.mu.Unlock()
	go func() {
		defer func() {
			r := recover()
			l.s.mu.Lock()
			defer l.s.mu.Unlock()
			l.s.threads--
			if b, ok := r.(broken); ok && !l.dead() {
				l.s.failed = cmp.Or(l.s.failed, b.err)
			} else if _, ok := r.(killed); r != nil && !ok && !l.dead() {
				l.s.failed = cmp.Or(l.s.failed, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
			}
		}()
		l.before(vfs.Call{Op: "start"}) // until then others run
		do()
	}()
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
	if (w.script.fault != nil || l.s.cut && g.format == merge.Lines) && errors.As(err, &torn) {
		return // of what is written in place a reader without the lock may see a part, and what a power cut left until the next fold
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
	g, err := guardOn(l.fs(), l.s.w.script.target, l.options())
	check(err)
	l.guards = append(l.guards, g)
	g.boot = "boot" + l.s.w.boot
	if l.s.family {
		g.seams.lockTarget = l.lockInFamily(g.parent)
	}
	return g
}

func (l *life) options() Options {
	o := l.s.w.script.options
	o.Command, o.Timeout = l.name, time.Hour
	if l.s.w.script.programs {
		o.Warn = func(text string) { l.s.w.warnings = append(l.s.w.warnings, text) }
	}
	return o
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
			if p := l.s.parent; p != nil && !p.dead() && p != l {
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
