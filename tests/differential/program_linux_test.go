package differential

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// program is the process that makes the calls, in its working directory. It prints one line for each. What it draws depends on
// its seed and on nothing that a call says, but for which of its descriptors are open.
type program struct {
	*rand.Rand
	named bool // document was named
	files []*open
	page  []byte // two pages, and behind them one that is not mapped
	cwd   string
	made  int
}

// open is a descriptor.
type open struct {
	fd      int
	guarded bool // by its name
	write   bool
}

// document is the file that is given to --file.
const document = "document.json"

// guarded says whether a path has a name that a guess takes, or leads to one.
func (p *program) guarded(dir uintptr, path string) bool {
	at, _ := p.inside(p.start(dir), path)
	for _, name := range []string{path, at} {
		if strings.Contains(name, ".json") || strings.Contains(name, ".ndjson") {
			return true
		}
	}
	return false
}

// draw is the whole program.
func draw(seed uint64, steps int, named bool) {
	p := newProgram()
	p.Rand, p.named = rand.New(rand.NewPCG(seed, 0)), named
	for range steps {
		p.step()
	}
	p.closeAll(func(*open) bool { return true })
}

func newProgram() *program {
	runtime.LockOSThread()
	unix.Umask(0o022)
	signal.Ignore(unix.SIGXFSZ)
	p := &program{}
	p.cwd, _ = os.Getwd()
	all, err := unix.Mmap(-1, 0, 3*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		err = unix.Mprotect(all[2*pageSize:], unix.PROT_NONE)
	}
	if err != nil {
		panic(err)
	}
	p.page = all[:2*pageSize]
	return p
}

const pageSize = 4096

// here is AT_FDCWD.
const here = ^uintptr(99)

func (p *program) say(format string, args ...any) {
	line := short.Replace(strings.ReplaceAll(fmt.Sprintf(format, args...), p.cwd, "WORK")) + "\n"
	_, _ = unix.Write(1, []byte(line))
}

// short takes what makes a path long out of a line.
var short = strings.NewReplacer(strings.Repeat("./", 2100), "././…", strings.Repeat("x", 250), "x…")

// one draws an element.
func one[T any](p *program, from ...T) T { return from[p.IntN(len(from))] }

func (p *program) chance(percent int) bool { return p.IntN(100) < percent }

var (
	dirs  = []string{"", "", "", "d/", "d/e/", "node_modules/", ".dot/"}
	bases = []string{"a.json", "a.json", "b.json", "c.jsonl", "n.ndjson", "a.json.tmp", "a.json.lock", "plain", "link.json", "link", "b.tmp"}
	odd   = []string{"loop.json", "dangling.json", "fifo.json", "sock.json", "null.json", "d", "d.json", "a.json/x", "missing/a.json", "", ".",
		"/proc/self/comm", "d/../a.json", "./a.json", "d//a.json", "dlink/a.json", "dlink/../a.json", "up/a.json", "a.json/", "b.json/", "new.json/", "link.json/",
		"d/./b.json", "d/e/../../b.json", "a.json/.", "a.json/..", strings.Repeat("x", 250) + ".json", strings.Repeat("x", 251) + ".json", "exe.json", "/proc/self/cwd/a.json", "/proc/thread-self/cwd/b.json", "abs.json", "readonly/a.json"}
)

// path draws one. Some are absolute, odd, or lead through a descriptor.
func (p *program) path() string {
	switch n := p.IntN(100); {
	case n < 14:
		return one(p, odd...)
	case n < 17:
		return p.cwd + "/" + one(p, dirs...) + one(p, bases...)
	case n < 18:
		return one(p, dirs...) + strings.Repeat("./", 2100) + "a.json" // longer than a path may be
	}
	return one(p, dirs...) + one(p, bases...)
}

// text puts a path where a call finds it, if it stays inside of the working directory from where the call takes it.
func (p *program) text(dir uintptr, path string) uintptr {
	if _, is := p.inside(p.start(dir), path); !is {
		p.say("%q leads out", path)
		path = elsewhere
	}
	return p.put(path)
}

// put puts a text where the program's memory ends behind it, or across two pages; or it is none.
func (p *program) put(path string) uintptr {
	if p.Rand == nil {
		return p.lay(path, 2*pageSize-len(path)-1)
	}
	switch n := p.IntN(100); {
	case n < 1:
		return 0
	case n < 2:
		return ^uintptr(0) - 100
	case n < 3: // without an end, up to where nothing is
		for i := range p.page[2*pageSize-8:] {
			p.page[2*pageSize-8+i] = 'x'
		}
		return uintptr(unsafe.Pointer(&p.page[2*pageSize-8]))
	}
	at := 2*pageSize - len(path) - 1
	if p.chance(30) {
		at = pageSize - min(len(path), pageSize)/2
	}
	return p.lay(path, at)
}

// lay puts a text, with its NUL, at an offset into the program's pages, or elsewhere if it does not fit.
func (p *program) lay(path string, at int) uintptr {
	if at < 0 || at+len(path)+1 > len(p.page) {
		at = 0
	}
	// Of two paths of one call neither may lie on the other.
	copied := append([]byte(path), 0)
	if p.made++; p.made%2 == 0 || len(copied) > 2000 {
		keep = append(keep[:0], copied...)
		return uintptr(unsafe.Pointer(&keep[0]))
	}
	copy(p.page[at:], copied)
	return uintptr(unsafe.Pointer(&p.page[at]))
}

// keep is memory that does not move while a call reads it.
var keep = make([]byte, 0, 3*pageSize)

// call makes one and says what it returned. What its arguments point to must not be on a stack, which moves.
//
//go:uintptrescapes
func call(nr uintptr, args ...uintptr) (int, string) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if e != 0 {
		return -1, unix.ErrnoName(e)
	}
	return int(r), strconv.Itoa(int(r))
}

// do is call, with the line that tells of it.
//
//go:uintptrescapes
func (p *program) do(what string, nr uintptr, args ...uintptr) int {
	r, said := call(nr, args...)
	p.say("%s = %s", what, said)
	return r
}

// dir draws a directory for a path to start from.
func (p *program) dir() (uintptr, string) {
	if p.chance(85) {
		return here, ""
	}
	if p.chance(5) {
		return uintptr(1 << 20), "[bad]"
	}
	name := one(p, "d", "d/e", ".", "plain")
	if _, is := p.inside(p.cwd, name); !is {
		return here, ""
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return here, ""
	}
	p.files = append(p.files, &open{fd: fd})
	return uintptr(fd), "[" + name + "]"
}

func (p *program) closeAll(which func(*open) bool) {
	left := p.files[:0:0]
	for _, f := range p.files {
		if !which(f) {
			left = append(left, f)
			continue
		}
		p.do(fmt.Sprintf("close(%d)", f.fd), unix.SYS_CLOSE, uintptr(f.fd))
	}
	p.files = left
}

// quiet closes what is open of guarded files: what is seen by a name, or another descriptor, meanwhile is admitted to differ.
func (p *program) quiet() { p.closeAll(func(f *open) bool { return f.guarded }) }

// writing says that a guarded file is open for writing.
func (p *program) writing() bool {
	for _, f := range p.files {
		if f.guarded && f.write {
			return true
		}
	}
	return false
}

func sum(b []byte) string {
	h := fnv.New32a()
	h.Write(b)
	return fmt.Sprintf("%d:%08x", len(b), h.Sum32())
}
