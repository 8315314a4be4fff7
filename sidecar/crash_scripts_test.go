package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// pad makes the target longer than a sector.
var pad = strings.Repeat("0123456789", 60)

var document = fmt.Sprintf("{\n  \"keep\": {\"pad\": %q},\n  \"n\": {}\n}\n", pad)

// summed is what programs write: see world.written.
var summed = fmt.Sprintf("{\n  \"keep\": {\"pad\": %q},\n  \"n\": {},\n  \"l\": [],\n  \"total\": 0\n}\n", pad)

// sums adds what programs add to counters.
var sums = Options{Policy: &merge.Policy{Rules: []merge.Rule{{At: "/n/*", Merge: merge.Sum}, {At: "/total", Merge: merge.Sum}}}}

const lines = `{"keep":"first"}` + "\n"

// scripts are the histories that are cut off at every call.
var scripts = []*script{
	{name: "apply alone", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		check(w.apply(g, 0))
		check(w.apply(g, 1, 2))
		check(g.Close())
	}},
	{name: "apply makes the file", target: "a.json", run: func(w *world) {
		g := w.open()
		check(w.apply(g, 0))
		check(g.Close())
		g = w.open()
		check(w.apply(g, 1))
		check(g.Close())
	}},
	{name: "journal", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		check(w.journal(g, 1, 2))
		check(w.flush(g))
		check(w.journal(g, 3))
		check(w.flush(g))
		check(g.Close())
	}},
	{name: "journal makes the file", target: "a.json", run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		check(w.journal(g, 1))
		check(w.flush(g))
		check(g.Close())
	}},
	{name: "fold of many", target: "a.json", content: document, refused: 1 << 2, run: func(w *world) {
		var all []*Guard
		for i := range 4 {
			g := w.open()
			check(w.journal(g, i))
			all = append(all, g)
		}
		check(w.update(all[0], 4))
		check(w.journal(all[1], 5))
		check(w.flush(all[3]))
		for _, g := range all {
			check(g.Close())
		}
	}},
	{name: "fold for the dead", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		check(w.journal(g, 1))
		w.kill()
		g = w.open()
		check(w.apply(g, 2))
		check(w.journal(g, 3))
		w.kill()
		g = w.open()
		check(w.update(g, 4))
		check(g.Close())
	}},
	{name: "fold killed", target: "a.json", content: document, run: func(w *world) {
		for i := range 3 {
			g := w.open()
			check(w.journal(g, 2*i))
			w.killAtRename(func() error { return w.update(g, 2*i+1) })
			w.kill()
		}
		check(w.recover())
	}},
	{name: "one after the other", target: "a.json", content: document, run: func(w *world) {
		for i := range 3 {
			g := w.open()
			check(w.journal(g, 2*i))
			check(w.flush(g))
			check(g.Close()) // removes its sidecar, and the next fold drops its watermark
			g = w.open()
			check(w.apply(g, 2*i+1))
			check(g.Close())
		}
	}},
	{name: "lock not to be had", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		check(w.flush(g))
		held := must(must(w.mem.OpenDir(home)).OpenFile("a.json.lock", os.O_RDWR, 0))
		must(held.TryLock())
		w.holding = append(w.holding, held)
		h := w.open()
		for i := 1; i < 4; i++ {
			if err := w.apply(h, i); !errors.Is(err, ErrPending) || !errors.Is(err, lock.ErrTimeout) {
				check(fmt.Errorf("want a timeout: %w", err))
			}
		}
		check(held.Close())
		check(w.apply(h, 4))
		check(h.Close())
		check(g.Close())
	}},
	{name: "read folds", target: "a.json", content: document, quiet: true, run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		w.kill()
		g = w.open()
		_, err := g.Read(context.Background())
		check(err)
		check(g.Close())
	}},
	{name: "conflicts", target: "a.json", content: document, refused: 1<<1 | 1<<3, run: func(w *world) {
		for i := range 5 {
			g := w.open()
			set := merge.Op{Kind: merge.OpSet, At: "/keep/place", Value: fmt.Appendf(nil, "%d", i)}
			check(w.done(g.Journal(context.Background(), append(w.try(i), set)...), i))
		}
		check(w.flush(w.guards[0]))
		check(w.journal(w.guards[1], 5))
		check(w.flush(w.guards[2]))
		for _, g := range w.guards {
			check(g.Close())
		}
	}},
	{name: "append lines", target: "a.jsonl", content: lines, run: func(w *world) {
		g := w.open()
		check(w.apply(g, 0))
		check(w.journal(g, 1, 2, 3))
		check(w.apply(g, 4))
		h := w.open()
		check(w.journal(h, 5, 6, 7, 8, 9, 10, 11))
		check(w.apply(h, 12))
		check(h.Close())
		check(g.Close())
	}},
	{name: "rewrite lines", target: "a.jsonl", content: lines + `{"keep":"no newline"}`, run: func(w *world) {
		g := w.open()
		check(w.apply(g, 0))
		check(w.journal(g, 1))
		check(w.update(g, 2))
		check(w.apply(g, 3))
		check(g.Close())
	}},
	{name: "lines make the file", target: "a.jsonl", run: func(w *world) {
		g := w.open()
		check(w.apply(g, 0))
		check(w.journal(g, 1, 2))
		check(w.apply(g, 3))
		check(g.Close())
	}},
	{name: "mount point", target: "a.json", content: document, fault: busy, run: func(w *world) {
		g := w.open()
		check(w.apply(g, 0))
		check(w.journal(g, 1))
		check(w.apply(g, 2))
		check(g.Close())
	}},
	{name: "view", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		v := must(g.View(context.Background()))
		w.submitEdit(v, 0)
		w.submitEdit(v, 1)
		w.writeCopy(v, w.edit(readCopyOf(w, v), 2))
		w.copied |= 1 << 2
		_, err := v.Close(context.Background())
		check(w.done(err, 2))
		check(g.Close())
	}},
	{name: "view of a dead process", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		v := must(g.View(context.Background()))
		w.submitEdit(v, 0)
		w.writeCopy(v, w.edit(readCopyOf(w, v), 1))
		w.copied |= 1 << 1
		w.kill()
		g = w.open()
		check(w.apply(g, 2))
		check(g.Close())
	}},
	{name: "lines-view", target: "a.jsonl", content: lines, run: func(w *world) {
		g := w.open()
		v := must(g.View(context.Background()))
		w.submitEdit(v, 0, 1)
		h := w.open()
		check(w.apply(h, 2))
		w.writeCopy(v, w.edit(readCopyOf(w, v), 3))
		w.copied |= 1 << 3
		w.kill()
		check(w.recover())
	}},
	{name: "torn view", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		v := must(g.View(context.Background()))
		w.submitEdit(v, 0)
		whole := w.edit(readCopyOf(w, v), 1)
		w.writeCopy(v, whole[:len(whole)/2])
		w.kill()
		g = w.open()
		check(w.journal(g, 2))
		check(w.flush(g))
		check(g.Close())
	}},
	{name: "salvage", target: "a.jsonl", content: lines, salvage: true, run: func(w *world) {
		g := w.open()
		v := must(g.View(context.Background()))
		whole := w.edit(readCopyOf(w, v), 0, 1)
		w.writeCopy(v, append(whole, `{"change":7,"pa`...))
		w.kill()
		g = w.open()
		check(w.apply(g, 2))
		_, salvaged, err := g.Recover(context.Background(), true)
		check(err)
		if len(salvaged) > 0 {
			w.acked |= 3
		}
		check(g.Close())
	}},
	{name: "sessions", target: "a.json", content: document, run: func(w *world) {
		s := w.session()
		w.publish(s, 0)
		w.foldSession(s, 0)
		w.publish(s, 1)
		w.publish(s, 2)
		w.kill()
		s = w.session()
		w.publish(s, 3)
		w.foldSession(s, 1, 2, 3)
		w.publish(s, 4)
		check(s.Close(true))
	}},
	{name: "lines-session", target: "a.jsonl", content: lines, run: func(w *world) {
		s := w.session()
		w.publish(s, 0, 1)
		w.foldSession(s, 0, 1)
		w.publish(s, 2)
		w.kill()
		g := w.open()
		check(w.apply(g, 3))
		check(g.Close())
	}},
	{name: "program rewrites", target: "a.json", content: summed, options: sums, programs: true, run: func(w *world) {
		v := w.supervise()
		p := v.program()
		base := v.current()
		p.openTruncated(base)
		content := w.written(base, 0)
		p.put(content, 2, false)
		p.close(content)
		v.publish(w.written(base, 1), base)
		v.fold()
		p.openTruncated(content)
		content = w.written(content, 2)
		p.put(content, 2, false)
		p.close(content)
		v.fold()
		check(v.s.Close(true))
	}},
	{name: "program holds", target: "a.json", content: summed, options: sums, programs: true, run: func(w *world) {
		v := w.supervise()
		p := v.program()
		content, _ := p.openHeld()
		for i, then := range []func(){func() { v.look(p.has, true) }, v.fold, func() { p.sync() }, func() { v.look(p.has, true) }} {
			content = w.written(content, i)
			p.put(content, 2, i%2 == 1)
			then()
		}
		p.close(content)
		v.fold()
		check(v.s.Close(true))
	}},
	{name: "program killed", target: "a.json", content: summed, options: sums, programs: true, run: func(w *world) {
		v := w.supervise()
		p := v.program()
		content, _ := p.openHeld()
		content = w.written(content, 0)
		p.put(content, 1, false)
		v.look(p.has, true)
		content = w.written(content, 1)
		p.put(content[:len(content)/2], 1, true)
		p.proc.Kill()
		p.gone(true)
		v.fold()
		check(v.s.Close(false))
	}},
	{name: "program continues", target: "a.json", content: summed, options: sums, programs: true, salvage: true, run: func(w *world) {
		v := w.supervise()
		p := v.program()
		base := v.current()
		p.openTruncated(base)
		content := w.written(base, 0)
		cut := bytes.IndexByte(content, ']')
		p.add(content[:cut], 1)
		p.leave()
		p.openAgain()
		p.add(content[cut:], 2)
		p.close(content)
		v.fold()
		p.openTruncated(content)
		p.add(w.written(content, 1)[:cut], 1)
		p.leave()
		p.openAgain()
		p.leave()
		v.fold()
		v.giveUp()
		check(v.s.Close(false))
	}},
	{name: "lines-program continues", target: "a.jsonl", content: lines, programs: true, salvage: true, run: func(w *world) {
		v := w.supervise()
		p := v.program()
		p.openAppend()
		content := append(w.written(nil, 0), w.written(nil, 1)...)
		cut := len(content) - 20
		p.add(content[:cut], 1)
		p.leave()
		p.openAgain()
		p.add(content[cut:], 2)
		p.close(content)
		v.fold()
		check(v.s.Close(false))
	}},
	{name: "lines-program", target: "a.jsonl", content: lines, programs: true, run: func(w *world) {
		v := w.supervise()
		p, q := v.program(), v.program()
		p.openAppend()
		p.add(w.written(nil, 0), 1)
		v.look(p.has, true)
		base := v.current()
		q.openTruncated(base)
		content := w.written(base, 1)
		q.put(content, 2, false)
		q.sync()
		p.add(w.written(nil, 2), 2)
		p.close(append(w.edit(nil, 0), w.edit(nil, 2)...))
		q.close(content)
		v.fold()
		check(v.s.Close(false))
	}},
	{name: "lines-program killed", target: "a.jsonl", content: lines, programs: true, run: func(w *world) {
		v := w.supervise()
		p, q := v.program(), v.program()
		base := v.current()
		q.openTruncated(base)
		q.put(w.written(base, 0), 1, false)
		q.proc.Kill()
		q.gone(true)
		p.openAppend()
		p.add(append(w.written(nil, 1), `{"change":9`...), 1)
		p.proc.Kill()
		p.gone(true)
		v.fold()
		check(v.s.Close(true))
	}},
	{name: "journal cut back", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		g.cutFrom = 300
		for i := range 4 {
			check(w.journal(g, 2*i))
			check(w.journal(g, 2*i+1))
			check(w.flush(g))
		}
		check(w.journal(g, 8))
		w.kill()
		g = w.open()
		check(w.apply(g, 9))
		check(g.Close())
	}},
	{name: "clean", target: "a.json", content: document, run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		w.kill()
		for i := 1; i < 3; i++ {
			g = w.open()
			_, err := g.Clean(context.Background())
			check(err)
			check(w.journal(g, i))
			check(w.flush(g))
			check(g.Close())
			g = w.open()
			_, err = g.Clean(context.Background())
			check(err)
			check(g.Close())
		}
	}},
	{name: "outsider", target: "a.json", content: document, inOrder: true, run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		check(w.flush(g))
		w.outsiderAdds(1)
		check(w.journal(g, 2))
		w.killAtRename(func() error { return w.flush(g) })
		w.kill()
		w.outsiderAdds(3)
		g = w.open()
		check(w.update(g, 4))
		check(g.Close())
	}},
	{name: "target deleted", target: "a.json", content: document, either: 1<<1 | 1<<0, run: func(w *world) {
		g := w.open()
		check(w.journal(g, 0))
		check(w.flush(g))
		check(w.journal(g, 1))
		dir := must(w.mem.OpenDir(home))
		w.acked &^= 1 // folded, and deleted with the target
		check(dir.Remove("a.json"))
		check(dir.Sync())
		check(w.flush(g))
		check(g.Close())
	}},
}

// submitEdit is one round of a program: read the copy, write it back with changes; then the watcher submits.
func (w *world) submitEdit(v *View, changes ...int) {
	w.writeCopy(v, w.edit(readCopyOf(w, v), changes...))
	for _, i := range changes {
		w.copied |= 1 << i
	}
	_, err := v.Submit(context.Background())
	check(w.done(err, changes...))
}

// session is an exec that intercepts what programs do to the target.
func (w *world) session() *Session {
	return must(newSession(w.open(), w.open()))
}

// publish is a program under it that replaces the target by what it read and changes of its own.
func (w *world) publish(s *Session, changes ...int) {
	base := must(readFile(must(w.mem.OpenDir(home)), w.script.target))
	_, err := s.publish(Writer{PID: 1, Command: "program"}, w.edit(base, changes...), Bases{Versions: [][]byte{base}})
	check(err)
	for _, i := range changes {
		w.copied |= 1 << i
	}
}

func (w *world) foldSession(s *Session, changes ...int) {
	_, err := s.Fold(context.Background(), Closed{})
	check(err)
	if len(w.warnings) == 0 { // what was passed over stays pending, and nobody said otherwise
		check(w.done(nil, changes...))
	}
}

// outsiderAdds replaces the target by what it is and one more change, without any lock.
func (w *world) outsiderAdds(i int) {
	content := must(readFile(must(w.mem.OpenDir(home)), w.script.target))
	edited := w.edit(content, i)
	w.outside(w.script.target, string(edited))
	w.acked |= 1 << i
}

// killAtRename runs do and stops it just before it renames something over the target.
func (w *world) killAtRename(do func() error) {
	type stop struct{}
	before := w.before
	defer func() {
		w.before = before
		if r := recover(); r != nil {
			if _, ok := r.(stop); !ok {
				panic(r)
			}
		}
	}()
	w.before = func(c vfs.Call) {
		if before != nil {
			before(c)
		}
		if c.Op == "rename" && c.Path == home+"/"+w.script.target {
			w.proc.Kill()
			panic(stop{})
		}
	}
	w.ignored = errors.Join(w.ignored, do())
}

// busy is a bind-mounted single file: nothing can be renamed over it (rename(2), EBUSY).
func busy(w *world, c vfs.Call) error {
	if c.Op == "rename" && c.Path == home+"/"+w.script.target {
		return syscall.EBUSY
	}
	return nil
}
