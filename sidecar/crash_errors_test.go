package sidecar

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"jsonguard/internal/vfs"
)

var errorsEach = flag.Int("crash.errors", 1, "with how many of the errors each call fails in TestErrors; 10 is all of them")

var errnos = []syscall.Errno{
	syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EMFILE,
	syscall.EINTR, syscall.EDQUOT, syscall.EFBIG, syscall.ENOLCK, syscall.EXDEV,
}

// injection is one call that fails.
type injection struct {
	call   int
	fault  vfs.Fault
	onward bool // and every later one of its kind on that file, until the fault is gone
	full   bool // and every later one of its kind: the disk is full
}

func (x injection) String() string {
	what := fmt.Sprint(x.fault.Err)
	if x.fault.Short {
		what = "short write, " + what
	}
	if x.onward || x.full {
		what += " from then on"
	}
	return what
}

// TestErrors runs each script again and again, and each time one call to the filesystem fails: the error is returned with
// operation and path, the target is a complete version, and once the fault is gone everything that was acknowledged is
// there once, whether the process goes on, dies, or the power fails.
//
//	go test ./sidecar -run TestErrors -crash.errors 10
func TestErrors(t *testing.T) {
	start := time.Now()
	type job struct {
		script *script
		calls  []vfs.Call
	}
	queue := make(chan job, len(scripts))
	for _, s := range scripts {
		if *crashOnly != "" && s.name != *crashOnly {
			continue
		}
		w := newWorld(s)
		var calls []vfs.Call
		w.before = func(c vfs.Call) { calls = append(calls, c) }
		if err := guarded(func() { s.run(w) }); err != nil {
			t.Fatalf("%s, without any fault: %v", s.name, err)
		}
		queue <- job{s, calls}
	}
	close(queue)
	var mu sync.Mutex
	var workers sync.WaitGroup
	injections, surfaced := 0, 0
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range queue {
				failures := 0
				for n, c := range j.calls {
					if n%slower != 0 {
						continue
					}
					for _, x := range injectionsFor(n, c) {
						returned, err := inject(j.script, x)
						mu.Lock()
						injections++
						if returned {
							surfaced++
						}
						mu.Unlock()
						if err == nil {
							continue
						}
						if failures++; failures <= maxFailures {
							t.Errorf("%s: call %d, %s: %v: %v", j.script.name, n, describe(c), x, err)
						}
					}
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d injections, %d of them returned as errors, in %v", injections, surfaced, time.Since(start).Round(time.Millisecond))
}

func injectionsFor(n int, c vfs.Call) []injection {
	var all []injection
	for i := range *errorsEach {
		all = append(all, injection{call: n, fault: vfs.Fault{Err: errnos[(n+i*5)%len(errnos)]}, onward: (n+i)%3 == 0})
	}
	if c.Op == "write" {
		all = append(all, injection{call: n, fault: vfs.Fault{Short: true}},
			injection{call: n, fault: vfs.Fault{Short: true, Err: syscall.ENOSPC}},
			injection{call: n, fault: vfs.Fault{Err: syscall.ENOSPC}, onward: true},
			injection{call: n, fault: vfs.Fault{Err: syscall.ENOSPC}, full: true})
	}
	return all
}

// inject runs one script with one fault.
func inject(s *script, x injection) (returned bool, err error) {
	w := newWorld(s)
	var failing vfs.Call
	calls, hit, written, loud := 0, false, "", false
	w.inject = func(c vfs.Call) vfs.Fault {
		if c.Op == "write" {
			written = c.Path
		}
		n := calls
		calls++
		switch {
		case n == x.call:
			failing, hit = c, true
			// The mode and owner of the target, and what only close(2) tells of its new content.
			loud = strings.HasSuffix(c.Path, tempSuffix) && x.fault.Err != nil && c.Path == written && (c.Op == "copymeta" || c.Op == "close")
			return x.fault
		case c.Op == "close" && c.Path == written:
			written = ""
		case hit && c.Op == failing.Op && (x.full || x.onward && c.Path == failing.Path):
			return x.fault
		}
		return vfs.Fault{}
	}
	result := guarded(func() { s.run(w) })
	w.inject = nil
	if result != nil {
		if err := wellSaid(result, x.fault); err != nil {
			return true, err
		}
	} else if loud && len(w.warnings) == 0 && w.ignored == nil && !s.quiet {
		return false, errors.New("neither returned nor warned of")
	}
	return result != nil, guarded(func() {
		if s.fault == nil { // what is overwritten in place may be torn until it is done again
			_, err := w.counts()
			check(err)
		}
		r := rand.New(rand.NewPCG(*crashSeed, uint64(x.call)))
		order := vfs.AnyOrder
		if s.inOrder {
			order = vfs.InOrder
		}
		cuts := w.mem.Cuts(order)
		for _, disk := range []*vfs.Mem{cuts.Disk(0), cuts.Sample(r)} {
			w.outlives("after a power cut", s.crashed(disk, w.promises, "1"), true)
		}
		w.outlives("after a kill", s.crashed(w.mem.Clone(), w.promises, "0"), false)
		// The process goes on: its next use of the file brings everything in.
		for _, f := range w.holding {
			_ = f.Close()
		}
		for _, g := range w.guards {
			if err := w.flush(g); err != nil && !errors.Is(err, ErrRejected) && !errors.Is(err, fs.ErrClosed) && !errors.Is(err, syscall.EBADF) {
				check(fmt.Errorf("the next use, with the fault gone: %w", err))
			}
		}
		w.kill()
		w.outlives("after the next use", w, false)
	})
}

// outlives recovers c and checks everything.
func (w *world) outlives(when string, c *world, powerCut bool) {
	err := guarded(func() {
		check(c.recover())
		check(c.verify(powerCut))
		check(c.settled())
		check(c.cleaned())
		check(c.verify(powerCut))
	})
	if err != nil {
		check(fmt.Errorf("%s: %w\n  acknowledged %b, tried %b\n%s", when, err, w.acked, w.tried, dump(c.mem)))
	}
}

// wellSaid: the error has an operation, a path and the cause.
func wellSaid(err error, fault vfs.Fault) error {
	want := fault.Err
	if want == nil {
		want = io.ErrShortWrite
	}
	var dressed *Error
	var path *fs.PathError
	switch {
	case !errors.Is(err, want):
		return fmt.Errorf("the error does not say why: %w", err)
	case errors.As(err, &dressed) && dressed.Op != "" && dressed.Path != "":
	case errors.As(err, &path) && path.Op != "" && strings.HasPrefix(path.Path, home):
	default:
		return fmt.Errorf("the error has no operation or path: %w", err)
	}
	return nil
}
