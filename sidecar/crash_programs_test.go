package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// supervisor does to a Session what internal/session does for the programs of a tree: one open scratch file for each
// descriptor they write through, which is looked at while it is open, taken up when it was closed, and folded.
type supervisor struct {
	w    *world
	life *life // nil in a script, where nothing is at once
	s    *Session
	turn turn // one at a time looks into what follows

	open     []*descriptor
	partial  []*descriptor // closed and incomplete: a program may go on with one
	closed   []*descriptor // it was told so, and has not looked yet
	pending  []written
	programs []*program
	gone     sync.Mutex
	ending   atomic.Bool
	done     atomic.Bool // its folder
}

// written is a version, or a part of one, that waits for a fold.
type written struct {
	x       *Scratch // nil: a part of one
	changes uint64
}

// descriptor is a descriptor that a program has of a scratch file.
type descriptor struct {
	x              *Scratch
	file           vfs.File // the program's
	reader         vfs.File // its supervisor's
	base           []byte
	initial        []byte // what it began with, where the program may leave it so
	skip           int64
	taken          []byte // what was submitted last
	closed, killed bool
}

func (w *world) supervise() *supervisor {
	return &supervisor{w: w, s: w.session(), turn: make(turn, 1)}
}

func (v *supervisor) lines() bool { return v.s.g.format == merge.Lines }

// current is the target as a program reads it.
func (v *supervisor) current() []byte {
	content, overlay, _, err := v.s.Current(context.Background(), v.own())
	check(err)
	if !overlay {
		if content, err = readFile(v.s.g.parent, v.w.script.target); !isMissing(err) {
			check(err)
		}
	}
	if v.lines() { // which are appended in place: the last one may not be all there
		content = content[:bytes.LastIndexByte(content, '\n')+1]
	}
	return content
}

func (v *supervisor) own() (own Closed) {
	for _, p := range v.pending {
		if p.x != nil {
			own.Files = append(own.Files, p.x)
		}
	}
	return own
}

// create is an open(2) for writing, up to the moment in which the program has the descriptor.
func (v *supervisor) create(p *program, flags int, base, content []byte, skip int64) *descriptor {
	var bases Bases
	if skip == 0 {
		bases.Versions = [][]byte{base}
	}
	x, file, err := v.s.create(Writer{PID: 1, Command: "program"}, flags, 0o600, content, bases, skip)
	check(err)
	o := &descriptor{x: x, base: base, skip: skip}
	if content != nil {
		o.initial = bytes.Clone(content)
	}
	o.reader = must(v.s.dir.OpenFile(x.n+scratchSuffix, os.O_RDONLY, 0))
	o.file = p.proc.Receive(file)
	v.opened(p, o)
	return o
}

// reopen is an open(2) for appending to what a program left incomplete.
func (v *supervisor) reopen(p *program, before *descriptor) *descriptor {
	o := &descriptor{x: before.x, base: before.base, skip: before.skip}
	file, err := before.x.reopen(context.Background(), Writer{PID: 1, Command: "program"}, os.O_WRONLY|os.O_APPEND)
	check(err)
	v.partial = slices.DeleteFunc(v.partial, func(x *descriptor) bool { return x == before })
	o.reader = must(v.s.dir.OpenFile(o.x.n+scratchSuffix, os.O_RDONLY, 0))
	o.file = p.proc.Receive(file)
	v.opened(p, o)
	return o
}

func (v *supervisor) opened(p *program, o *descriptor) {
	v.open = append(v.open, o)
	if p.life != nil && p.life.dead() {
		v.tell(o, true)
	}
}

// tell is what the kernel does after the last close.
func (v *supervisor) tell(o *descriptor, killed bool) {
	o.closed, o.killed = true, killed
	v.closed = append(v.closed, o)
}

// publish is a rename over the target.
func (v *supervisor) publish(content, base []byte) {
	x, err := v.s.publish(Writer{PID: 1, Command: "program"}, content, Bases{Versions: [][]byte{base}})
	check(err)
	v.took(x, content, base)
}

func (v *supervisor) took(x *Scratch, content, base []byte) {
	changes := v.w.madeIn(content) &^ v.w.madeIn(base)
	v.w.copied |= changes
	v.pending = append(v.pending, written{x, changes})
}

// settle takes up what was closed.
func (v *supervisor) settle() {
	closed := v.closed
	v.closed = nil
	for _, o := range closed {
		v.settleOne(o)
		v.open = slices.DeleteFunc(v.open, func(x *descriptor) bool { return x == o })
		check(o.reader.Close())
	}
}

func (v *supervisor) settleOne(o *descriptor) {
	content, _, err := readAll(o.reader)
	check(err)
	if o.skip > 0 {
		v.settleLines(o, content[min(o.skip, int64(len(content))):])
		return
	}
	if o.initial != nil && bytes.Equal(content, o.initial) {
		o.x.Discard()
		return
	}
	if v.lines() {
		_, err = o.x.Prepare(content, Bases{Versions: [][]byte{o.base}})
	} else {
		err = o.x.Check(o.reader)
	}
	if errors.Is(err, ErrTorn) {
		if !o.killed {
			v.partial = append(v.partial, o)
			return
		}
		v.quarantine(o, content)
		return
	}
	check(err)
	if v.lines() {
		check(o.x.Finish(o.killed))
	}
	v.took(o.x, content, o.base)
}

func (v *supervisor) settleLines(o *descriptor, lines []byte) {
	switch {
	case len(lines) == 0:
		o.x.Discard()
	case Complete(lines, merge.Lines) == nil:
		v.took(o.x, lines, nil)
	case !o.killed:
		v.partial = append(v.partial, o)
	default:
		if whole := lines[:bytes.LastIndexByte(lines, '\n')+1]; len(whole) > 0 {
			check(o.x.Salvage(context.Background(), Writer{PID: 1}, whole))
			v.took(nil, whole, nil)
			lines = lines[len(whole):]
		}
		v.quarantine(o, lines)
	}
}

func (v *supervisor) quarantine(o *descriptor, content []byte) {
	if len(content) > 0 {
		_, err := o.x.Quarantine(content, o.base)
		check(err)
	}
	o.x.Discard()
}

// giveUp keeps what nobody went on with.
func (v *supervisor) giveUp() {
	for _, o := range v.partial {
		content := must(readFile(v.s.dir, o.x.n+scratchSuffix))
		v.quarantine(o, content[min(o.skip, int64(len(content))):])
	}
	v.partial = nil
}

// look takes what is complete of what a program holds open. additions: nobody said that it is done with it.
func (v *supervisor) look(o *descriptor, additions bool) {
	if o.closed {
		return
	}
	content, _, err := readAll(o.reader)
	check(err)
	if o.skip > 0 {
		v.lookAtLines(o, content[min(o.skip, int64(len(content))):])
		return
	}
	if o.initial != nil && bytes.Equal(content, o.initial) || additions && bytes.Equal(content, o.taken) {
		return
	}
	_, base, err := o.x.Submit(context.Background(), Writer{PID: 1}, content, Bases{Versions: [][]byte{o.base}}, additions)
	if errors.Is(err, ErrTorn) || errors.Is(err, ErrClosed) {
		return
	}
	check(err)
	v.took(nil, base, o.base)
	o.base, o.taken = base, content
	if !additions {
		o.initial = base
	}
}

func (v *supervisor) lookAtLines(o *descriptor, lines []byte) {
	lines = lines[:bytes.LastIndexByte(lines, '\n')+1]
	if len(lines) == 0 {
		return
	}
	err := o.x.Appended(context.Background(), Writer{PID: 1}, lines)
	if errors.Is(err, ErrClosed) {
		return
	}
	check(err)
	v.took(nil, lines, nil)
	o.skip += int64(len(lines))
}

// with is one of its threads at work.
func (v *supervisor) with(do func()) {
	check(v.turn.take(context.Background(), 1<<62))
	defer v.turn.give()
	do()
}

func (v *supervisor) fold() {
	var own Closed
	var changes uint64
	var pending int
	v.with(func() {
		v.settle()
		own, pending = v.own(), len(v.pending)
		for _, p := range v.pending {
			changes |= p.changes
		}
	})
	result, err := v.s.Fold(context.Background(), own)
	check(err)
	v.with(func() {
		v.pending = v.pending[pending:]
		if len(v.w.warnings) == 0 && len(result.Rejected) == 0 { // what was passed over stays pending
			v.w.acked |= changes
		}
	})
}

// program is what changes the target, knows nothing of anybody, and is asked nothing.
type program struct {
	v    *supervisor
	life *life // nil in a script
	proc *vfs.MemProcess
	has  *descriptor
}

func (v *supervisor) program() *program {
	p := &program{v: v, proc: v.w.mem.Process()}
	v.programs, v.w.programs = append(v.programs, p), append(v.w.programs, p.proc)
	return p
}

// step is a call that it makes itself.
func (p *program) step(op string) {
	c := vfs.Call{Op: op, Path: p.v.s.path + "/" + p.has.x.n + scratchSuffix}
	switch {
	case p.life != nil:
		p.life.before(c)
	case p.v.w.before != nil:
		p.v.w.before(c)
	}
}

// ask waits until its supervisor has done something for it, and says whether that lived so long.
func (p *program) ask(do func()) (done bool) {
	if p.life == nil {
		do()
		return true
	}
	super := p.v.life
	select {
	case p.v.turn <- struct{}{}:
	case <-super.died:
		return false
	}
	defer func() {
		if r := recover(); r != nil && !super.dead() {
			panic(r)
		}
		p.v.turn.give()
		if p.life.dead() {
			panic(killed{})
		}
	}()
	do()
	return !super.dead()
}

// gone: it ended, or was killed.
func (p *program) gone(killed bool) {
	p.v.gone.Lock() // all whose supervisor died may end at once
	defer p.v.gone.Unlock()
	p.v.programs = slices.DeleteFunc(p.v.programs, func(x *program) bool { return x == p })
	if killed {
		p.v.w.torn = true
	}
	if p.has != nil && !p.has.closed {
		p.v.tell(p.has, killed)
	}
}

// openTruncated is open(…, "w") of what it has read before.
func (p *program) openTruncated(base []byte) bool {
	return p.ask(func() { p.has = p.v.create(p, os.O_WRONLY, base, nil, 0) })
}

// openHeld is open(…, "r+").
func (p *program) openHeld() (content []byte, ok bool) {
	ok = p.ask(func() {
		content = p.v.current()
		p.has = p.v.create(p, os.O_RDWR, content, content, 0)
	})
	return content, ok
}

// openAgain is open(…, "a") of what it has left incomplete.
func (p *program) openAgain() bool {
	return p.ask(func() {
		p.v.settle()
		p.has = p.v.reopen(p, p.v.partial[slices.IndexFunc(p.v.partial, func(o *descriptor) bool { return o.x == p.has.x })])
	})
}

// openAppend is open(…, "a") of a target that has lines.
func (p *program) openAppend() bool {
	return p.ask(func() { p.has = p.v.create(p, os.O_WRONLY|os.O_APPEND, nil, nil, int64(len(p.v.current()))) })
}

// put writes over what its descriptor holds, in parts.
func (p *program) put(content []byte, parts int, truncate bool) {
	if truncate {
		p.step("truncate")
		check(p.has.file.Truncate(0))
	}
	for i := range parts {
		from, to := len(content)*i/parts, len(content)*(i+1)/parts
		p.step("write")
		_, err := p.has.file.WriteAt(content[from:to], int64(from))
		check(err)
	}
}

// add appends a line, in parts.
func (p *program) add(line []byte, parts int) {
	for i := range parts {
		p.step("write")
		_, err := p.has.file.Write(line[len(line)*i/parts : len(line)*(i+1)/parts])
		check(err)
	}
}

// sync is fsync(2): it is done with what it wrote.
func (p *program) sync() bool { return p.ask(func() { p.v.look(p.has, false) }) }

// close gives the descriptor up, when what it wrote through that is complete.
func (p *program) close(content []byte) {
	p.step("close")
	check(p.has.file.Close())
	p.v.w.copied |= p.v.w.madeIn(content) &^ p.v.w.madeIn(p.has.base)
	p.v.tell(p.has, false)
}

// leave gives the descriptor up with something incomplete in it.
func (p *program) leave() {
	p.step("close")
	check(p.has.file.Close())
	p.v.tell(p.has, false)
}

// written is a document with more changes: to a counter of its own, to a list and to a counter of all, each.
func (w *world) written(content []byte, changes ...int) []byte {
	if formatOf(w.script.target) == merge.Lines {
		return w.edit(content, changes...)
	}
	if content == nil {
		content = []byte(`{"n":{},"l":[],"total":0}`)
	}
	d := must(merge.Parse(content, merge.JSON))
	for _, i := range changes {
		w.programmed |= 1 << i
		check(d.Do(append(w.try(i),
			merge.Op{Kind: merge.OpAppend, At: "/l", Value: fmt.Appendf(nil, "%d", i)},
			merge.Op{Kind: merge.OpIncr, At: "/total", Value: []byte("1")})...))
	}
	return bytes.Clone(d.Bytes())
}

// madeIn are the changes in a version, or in lines of one.
func (w *world) madeIn(content []byte) (changes uint64) {
	if formatOf(w.script.target) == merge.Lines {
		for line := range bytes.Lines(content) {
			var l struct{ Change *int }
			check(json.Unmarshal(line, &l))
			if l.Change != nil {
				changes |= 1 << *l.Change
			}
		}
		return changes
	}
	var doc struct{ N map[string]int }
	if content != nil {
		check(json.Unmarshal(content, &doc))
	}
	for key := range doc.N {
		var i int
		_, err := fmt.Sscanf(key, "c%d", &i)
		check(err)
		changes |= 1 << i
	}
	return changes
}

// verifyWritten says what is wrong with a document that programs wrote: a record is in the list once, and counted once, by a counter of its
// own and by that of all. What is taken of a change while its program goes on is followed by more: a power cut may take the one or the other, and
// a kill the rest. Of what was acknowledged it takes nothing, and more than what was not is not between the counters and the list.
func (w *world) verifyWritten(counts map[int]int) error {
	raw, err := readFile(must(w.mem.OpenDir(home)), w.script.target)
	if isMissing(err) || formatOf(w.script.target) == merge.Lines {
		return nil
	}
	var doc struct {
		L     []int
		Total int
	}
	if err := errors.Join(err, json.Unmarshal(raw, &doc)); err != nil {
		return err
	}
	listed := map[int]int{}
	for _, i := range doc.L {
		listed[i]++
	}
	present, least, most := 0, 0, 0 // records, and what total may be
	for i := range 64 {
		if w.programmed>>i&1 == 0 {
			continue
		}
		n, there := listed[i], min(1, counts[i])
		loose := w.cut && w.acked>>i&1 == 0
		present += there
		if !loose && (!w.torn || w.acked>>i&1 == 1) {
			least += there
		}
		if most += there; loose {
			most += 1 - there
		}
		if n > 1 || n != counts[i] && !loose && !w.script.salvage { // of what is torn the one may be complete, and not the other
			return fmt.Errorf("change %d is counted %d times and listed %d times", i, counts[i], n)
		}
	}
	if doc.Total > most || doc.Total < least {
		return fmt.Errorf("%d changes of programs are there, and were counted %d times", present, doc.Total)
	}
	return nil
}

// supervise is a process that runs programs.
func (l *life) supervise() {
	l.threads = 2
	s, err := newSession(l.open(), l.open())
	check(err)
	v := &supervisor{w: l.s.w, life: l, s: s, turn: make(turn, 1)}
	l.super = v
	for range 1 + l.r.IntN(3) {
		p := v.program()
		p.life = l.s.newLife("program")
		p.proc, p.life.program = p.life.proc, p
		p.life.run(func() { p.work() })
	}
	l.run(func() {
		defer func() { v.done.Store(true) }()
		for !v.ending.Load() {
			if l.before(vfs.Call{Op: "fold"}); len(v.pending)+len(v.closed) > 0 || l.r.IntN(20) == 0 {
				v.fold()
			}
		}
	})
	for len(v.programs) > 0 {
		l.before(vfs.Call{Op: "look"})
		v.with(func() {
			v.settle()
			if len(v.open) > 0 {
				v.look(v.open[l.r.IntN(len(v.open))], true)
			}
		})
	}
	for v.ending.Store(true); !v.done.Load(); {
		l.before(vfs.Call{Op: "wait"})
	}
	v.fold()
	v.giveUp()
	check(s.Close(l.r.IntN(2) == 0))
}

// work is a random program of a program.
func (p *program) work() {
	r := p.life.r
	defer func() {
		if !p.life.dead() {
			p.gone(false)
		}
	}()
	for range 1 + r.IntN(3) {
		var ok bool
		if p.has = nil; p.life.s.change > 50 { // of 64 bits
			return
		}
		switch kind := r.IntN(4); {
		case kind == 0:
			ok = p.renames()
		case kind == 3:
			ok = p.continues()
		case kind == 1:
			ok = p.rewrites()
		case p.v.lines():
			ok = p.appends()
		default:
			ok = p.holds()
		}
		if !ok {
			return // as every call of a program whose supervisor is dead
		}
	}
}

func (p *program) read() (content []byte, ok bool) {
	ok = p.ask(func() { content = p.v.current() })
	return content, ok
}

func (p *program) renames() bool {
	base, ok := p.read()
	return ok && p.ask(func() { p.v.publish(p.v.w.written(base, p.life.accepted()), base) })
}

func (p *program) rewrites() bool {
	base, ok := p.read()
	if !ok || !p.openTruncated(base) {
		return false
	}
	content := p.v.w.written(base, p.life.accepted())
	p.put(content, 1+p.life.r.IntN(3), false)
	ok = p.life.r.IntN(3) > 0 || p.sync()
	p.close(content)
	return ok
}

// continues writes in two goes.
func (p *program) continues() bool {
	base, ok := p.read()
	content, cut := []byte(nil), 0
	if p.v.lines() {
		ok = ok && p.openAppend()
	} else {
		ok = ok && p.openTruncated(base)
	}
	if !ok {
		return false
	}
	if p.v.lines() {
		base = nil
	}
	content = p.v.w.written(base, p.life.accepted())
	cut = 1 + p.life.r.IntN(bytes.LastIndexByte(content, '}')-1)
	p.add(content[:cut], 1+p.life.r.IntN(2))
	p.leave()
	if !p.openAgain() {
		return false
	}
	p.add(content[cut:], 1+p.life.r.IntN(2))
	p.close(content)
	return !p.v.life.dead()
}

func (p *program) holds() bool {
	content, ok := p.openHeld()
	if !ok {
		return false
	}
	for range 1 + p.life.r.IntN(3) {
		content = p.v.w.written(content, p.life.accepted())
		p.put(content, 1+p.life.r.IntN(2), p.life.r.IntN(2) == 0)
		if p.life.r.IntN(3) == 0 {
			ok = p.sync()
		}
	}
	p.close(content)
	return ok
}

func (p *program) appends() bool {
	if !p.openAppend() {
		return false
	}
	var all []byte
	for range 1 + p.life.r.IntN(3) {
		line := p.v.w.written(nil, p.life.accepted())
		p.add(line, 1+p.life.r.IntN(2))
		all = append(all, line...)
	}
	p.close(all)
	return !p.v.life.dead()
}
