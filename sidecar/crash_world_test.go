package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math/bits"
	"os"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// world is one target on a filesystem in memory, and what was promised about it. A change is a number: change i adds 1
// to a counter of its own, so that the document tells how often each one was folded.
type world struct {
	mem    *vfs.Mem
	script *script
	promises
	before   func(vfs.Call)           // called before every call to the filesystem
	inject   func(vfs.Call) vfs.Fault // asked about every call
	warnings []string
	holding  []vfs.File // locks that the script holds
	ignored  error      // what a call returned that the script did not look at

	proc   *vfs.MemProcess // whose calls the next guards make
	guards []*Guard        // open ones

	programs []*vfs.MemProcess // of a supervisor
	boot     string            // of the machine; another one after each power cut
}

// promises are sets of changes, a bit for each.
type promises struct {
	tried  uint64 // begun
	acked  uint64 // the caller was told that it is safe
	copied uint64 // complete in a private copy: a kill does not lose it, a power cut may
	failed uint64 // the caller was told that it did not happen

	programmed uint64 // of those, by programs: see written
	torn       bool   // a program was killed: what it was about to write may be there in part
	cut        bool   // the power failed

	observed []string // contents that the target had when a change was acknowledged; only where history is kept
	unkept   bool     // it was said that a version is not kept
}

// script is what happens to a world before its crash.
type script struct {
	name     string
	target   string // its name
	content  string // before anything; "" missing
	options  Options
	refused  uint64                           // changes that cannot be applied: they belong into quarantine
	either   uint64                           // changes that may be in quarantine instead
	inOrder  bool                             // needs a filesystem that orders renames (an outsider without a lock)
	salvage  bool                             // recovery salvages
	quiet    bool                             // a fold that fails is nobody's business: a reader gets the version there is
	fault    func(w *world, c vfs.Call) error // a filesystem that is like that, recovery included
	holds    func(target []byte) error        // what else must be true of the target; nil: nothing
	programs bool                             // a supervisor runs some
	changes  bool                             // it restores: changes come and go
	run      func(w *world)
}

const home = "/home"

func newWorld(s *script) *world {
	w := &world{mem: vfs.NewMem(), script: s, boot: "0"}
	root := must(w.mem.OpenDir("/"))
	check(root.Mkdir("home", 0o755))
	if s.content != "" {
		w.outside(s.target, s.content)
	}
	w.mem.Sync()
	w.spawn()
	return w
}

// crashed is the world after everything was killed, on a disk that may have lost something.
func (s *script) crashed(mem *vfs.Mem, p promises, boot string) *world {
	c := &world{mem: mem, script: s, promises: p, boot: boot}
	c.torn = true
	c.spawn()
	return c
}

// spawn starts a process: guards that are opened from now on are its.
func (w *world) spawn() { w.proc = w.mem.Process() }

// kill ends the process as kill -9 does, and its programs.
func (w *world) kill() {
	w.proc.Kill()
	for _, p := range w.programs {
		w.torn = true
		p.Kill()
	}
	w.guards = nil
	w.spawn()
}

func (w *world) fs() vfs.FS {
	return vfs.NewFaults(w.proc, func(c vfs.Call) vfs.Fault {
		if w.before != nil {
			w.before(c)
		}
		if w.script.fault != nil {
			if err := w.script.fault(w, c); err != nil {
				return vfs.Fault{Err: err}
			}
		}
		if w.inject != nil {
			return w.inject(c)
		}
		return vfs.Fault{}
	})
}

func (w *world) open() *Guard { return w.openWith(w.script.options) }

func (w *world) openWith(o Options) *Guard {
	if o.Command == "" {
		o.Command = "crash"
	}
	if o.Timeout == 0 {
		o.Timeout = -1
	}
	if o.Policy == nil {
		o.Policy = &merge.Policy{} // else a file of the real filesystem is looked for
	}
	o.Warn = func(text string) {
		w.warnings = append(w.warnings, text)
		w.unkept = w.unkept || strings.Contains(text, "is not kept")
	}
	g, err := guardOn(w.fs(), w.script.target, o)
	check(err)
	g.boot = "boot" + w.boot
	w.guards = append(w.guards, g)
	return g
}

// guardOn is Open on any filesystem.
func guardOn(fsys vfs.FS, name string, o Options) (*Guard, error) {
	parent, err := fsys.OpenDir(home)
	if err != nil {
		return nil, err
	}
	g := newGuard(parent, name, o)
	g.forgetFrom = 1 // each time: what is forgotten too early is folded again
	g.lockNames = []string{name}
	g.seams.lockTarget = func(ctx context.Context, name string, wait time.Duration) (targetLock, error) {
		f, err := parent.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := waitLock(ctx, f, wait); err != nil {
			return nil, err
		}
		return &memLock{f}, nil
	}
	g.seams.makeGuardDir = func() error {
		if err := parent.Mkdir(g.guardName(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		dir, err := parent.OpenDir(g.guardName())
		if err != nil {
			return err
		}
		defer dir.Close()
		f, err := dir.OpenFile(".gitignore", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write([]byte("*\n"))
		return errors.Join(err, f.Close())
	}
	g.wake = make(chan struct{}, 1) // nobody listens: folds happen where the script says
	return g, nil
}

type memLock struct{ file vfs.File }

func (l *memLock) Release() error  { return l.file.Close() }
func (l *memLock) Check() error    { return nil }
func (l *memLock) Inherited() bool { return false }

// op is change i.
func (w *world) op(i int) merge.Op {
	switch {
	case w.script.refused>>i&1 == 1:
		return merge.Op{Kind: merge.OpAppend, At: "/keep", Value: fmt.Appendf(nil, `"refused-%d-"`, i)}
	case strings.HasSuffix(w.script.target, ".jsonl"):
		return merge.Op{Kind: merge.OpAppend, Value: fmt.Appendf(nil, `{"change":%d,"pad":"%s"}`, i, strings.Repeat("p", 40))}
	}
	return merge.Op{Kind: merge.OpIncr, At: fmt.Sprintf("/n/c%d", i), Value: []byte("1")}
}

func (w *world) try(changes ...int) []merge.Op {
	var ops []merge.Op
	for _, i := range changes {
		w.tried |= 1 << i
		ops = append(ops, w.op(i))
	}
	return ops
}

// done notes the outcome of a call that carried changes.
func (w *world) done(err error, changes ...int) error {
	for _, i := range changes {
		switch {
		case err == nil, errors.Is(err, ErrPending), errors.Is(err, ErrRejected):
			w.acked |= 1 << i
		case !errors.Is(err, ErrNotDurable) && !errors.Is(err, vfs.ErrKilled):
			w.failed |= 1 << i
		}
	}
	w.observe()
	return err
}

func (w *world) apply(g *Guard, changes ...int) error {
	_, err := g.Apply(context.Background(), w.try(changes...)...)
	return w.done(err, changes...)
}

func (w *world) journal(g *Guard, changes ...int) error {
	return w.done(g.Journal(context.Background(), w.try(changes...)...), changes...)
}

func (w *world) update(g *Guard, changes ...int) error {
	ops := w.try(changes...)
	_, err := g.Update(context.Background(), func(d *merge.Document) error { return d.Do(ops...) })
	return w.done(err, changes...)
}

func (w *world) flush(g *Guard) error {
	_, err := g.Flush(context.Background())
	return err
}

// outside puts content at name as a careful program without any lock does.
func (w *world) outside(name, content string) {
	d := must(w.mem.OpenDir(home))
	temp := "outside-" + name
	f := must(d.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644))
	_, err := f.Write([]byte(content))
	check(err)
	check(f.Sync())
	check(f.Close())
	check(d.Rename(temp, name))
	check(d.Sync())
}

// edit is content with the changes in it, as a program that keeps a private copy makes it.
func (w *world) edit(content []byte, changes ...int) []byte {
	d := must(merge.Parse(content, formatOf(w.script.target)))
	check(d.Do(w.try(changes...)...))
	return bytes.Clone(d.Bytes())
}

// writeCopy overwrites a view's copy, as a program does: truncated, then written, never synced.
func (w *world) writeCopy(v *View, content []byte) {
	dir := must(w.proc.OpenDir(v.Path()[:strings.LastIndexByte(v.Path(), '/')]))
	f := must(dir.OpenFile(w.script.target, os.O_RDWR|os.O_TRUNC, 0))
	if w.before != nil {
		w.before(vfs.Call{Op: "write", Path: v.Path()})
	}
	_, err := f.Write(content)
	check(err)
	check(f.Close())
}

func readCopyOf(w *world, v *View) []byte {
	dir := must(w.proc.OpenDir(v.Path()[:strings.LastIndexByte(v.Path(), '/')]))
	return must(readFile(dir, w.script.target))
}

func formatOf(name string) merge.Format {
	if strings.HasSuffix(name, ".jsonl") {
		return merge.Lines
	}
	return merge.JSON
}

// recover is what the next process does, whichever it is.
func (w *world) recover() error {
	g := w.open()
	_, _, err := g.Recover(context.Background(), w.script.salvage)
	return errors.Join(err, g.Close())
}

var hashSeed = maphash.MakeSeed()

// verify says which promise is broken after a recovery; powerCut says whether there was one since the promises were made.
func (w *world) verify(powerCut bool) error {
	w.cut = powerCut
	counts, err := w.counts()
	if err != nil {
		return err
	}
	if w.script.programs {
		if err := w.verifyWritten(counts); err != nil {
			return err
		}
	}
	if w.script.options.History != nil {
		if err := w.verifyHistory(powerCut); err != nil {
			return err
		}
	}
	must := w.acked
	if !powerCut {
		must |= w.copied
	}
	var quarantine string
	for i := range bits.Len64(w.tried) {
		n, bit := counts[i], uint64(1)<<i
		refused, either := w.script.refused&bit != 0, w.script.either&bit != 0
		switch {
		case n > 1:
			return fmt.Errorf("change %d is in the target %d times", i, n)
		case n == 1 && w.failed&^w.copied&bit != 0:
			return fmt.Errorf("change %d was said to have failed and is in the target", i)
		case n == 1 && refused:
			return fmt.Errorf("refused change %d is in the target", i)
		case n == 1 && w.tried&bit == 0:
			return fmt.Errorf("change %d is in the target before anybody made it", i)
		case n == 0 && must&bit != 0:
			if quarantine == "" {
				quarantine = w.quarantined()
			}
			switch {
			case !refused && !either:
				return fmt.Errorf("change %d was acknowledged and is not in the target", i)
			case !strings.Contains(quarantine, fmt.Sprintf("refused-%d-", i)) && !strings.Contains(quarantine, fmt.Sprintf("/n/c%d\\\"", i)):
				return fmt.Errorf("refused change %d was acknowledged and is not in quarantine", i)
			}
		}
	}
	return nil
}

// counts reads the target: how often each change is in there.
func (w *world) counts() (map[int]int, error) {
	counts := map[int]int{}
	raw, err := readFile(must(w.mem.OpenDir(home)), w.script.target)
	if isMissing(err) && (w.script.content == "" || w.script.either != 0) {
		return counts, nil
	}
	if err != nil {
		return nil, err
	}
	return w.countsIn(raw)
}

// countsIn is counts of one version.
func (w *world) countsIn(raw []byte) (map[int]int, error) {
	counts := map[int]int{}
	if w.script.holds != nil {
		if err := w.script.holds(raw); err != nil {
			return nil, err
		}
	}
	if formatOf(w.script.target) == merge.Lines {
		for line := range bytes.Lines(raw) {
			var l struct {
				Change *int
				Pad    string
				Keep   string
			}
			if err := json.Unmarshal(line, &l); err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			if l.Change != nil {
				counts[*l.Change]++
			}
		}
		if !bytes.HasPrefix(raw, []byte(w.script.content)) {
			return nil, fmt.Errorf("what was there before is gone: %q", raw)
		}
		return counts, nil
	}
	var doc struct {
		Keep map[string]any
		N    map[string]int
	}
	if len(raw) == 0 && w.script.content == "" {
		return counts, nil
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("target %q: %w", raw, err)
	}
	if w.script.content != "" && doc.Keep["pad"] != pad {
		return nil, fmt.Errorf("what was there before is gone: %q", raw)
	}
	for key, n := range doc.N {
		var i int
		if _, err := fmt.Sscanf(key, "c%d", &i); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		counts[i] = n
	}
	return counts, nil
}

func (w *world) quarantined() string {
	dir, err := w.mem.OpenDir(home + "/." + w.script.target + ".guard/" + quarantineName)
	if err != nil {
		return ""
	}
	var all strings.Builder
	for _, name := range must(dir.Names()) {
		all.Write(must(readFile(dir, name)))
	}
	return all.String()
}

// settled says what a second recovery still changed.
func (w *world) settled() error {
	before := w.mem.HashContent(hashSeed)
	g := w.open()
	result, _, err := g.Recover(context.Background(), w.script.salvage)
	if err := errors.Join(err, g.Close()); err != nil {
		return fmt.Errorf("second recovery: %w", err)
	}
	if result.Changed || result.Folded > 0 || w.mem.HashContent(hashSeed) != before {
		return fmt.Errorf("the second recovery changed something (%+v)", result)
	}
	return nil
}

// cleaned says what is left behind after cleaning up.
func (w *world) cleaned() error {
	g := w.open()
	_, err := g.Clean(context.Background())
	if err := errors.Join(err, g.Close()); err != nil {
		return fmt.Errorf("clean: %w", err)
	}
	return w.leftovers()
}

func (w *world) leftovers() error {
	dir := must(w.mem.OpenDir(home))
	guard := "." + w.script.target + ".guard"
	for _, name := range must(dir.Names()) {
		switch {
		case name == w.script.target, name == w.script.target+".lock":
		case name == guard && w.worthKeeping(guard):
		case w.isEvidence(guard, name):
		default:
			return fmt.Errorf("clean left %s: %v", name, vfs.Paths(w.mem.Tree()))
		}
	}
	return nil
}

// isEvidence: the newest record names that temporary file, and its rename did not happen.
func (w *world) isEvidence(guard, name string) bool {
	dir, err := w.mem.OpenDir(home + "/" + guard)
	if err != nil {
		return false
	}
	s := &store{guard: dir}
	c, err := s.newestCommit()
	return err == nil && c.Temp == name
}

func (w *world) worthKeeping(guard string) bool {
	dir := must(w.mem.OpenDir(home + "/" + guard))
	if _, err := dir.Stat(conflictsName); err == nil {
		return true
	}
	if history, err := dir.OpenDir(historyName); err == nil && len(must(history.Names())) > 0 {
		return true
	}
	quarantine, err := dir.OpenDir(quarantineName)
	return err == nil && len(must(quarantine.Names())) > 0
}

// broken is a violation found inside a script: the harness itself has no other way to fail.
type broken struct{ err error }

func check(err error) {
	if err != nil {
		panic(broken{err})
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}
