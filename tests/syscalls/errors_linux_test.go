package syscalls

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var (
	errorsTried = flag.Int("errors", 60, "errors in place of a call to try; 0: every one")
	limitsTried = flag.Int("limits", 30, "short writes to try; 0: every one")
)

// errnos are the errors that a call may end with, whichever call it is.
var errnos = []unix.Errno{
	unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EINTR, unix.EXDEV, unix.ENOLCK, unix.EMFILE, unix.EACCES, unix.EFBIG,
}

// injection is a call that fails.
type injection struct {
	killPoint
	errno  unix.Errno
	onward bool // and every later one of its kind in that thread
}

func (x injection) String() string {
	onward := ""
	if x.onward {
		onward = " from then on"
	}
	return fmt.Sprintf("%s, %s fails with %s%s", x.s.name, x.point, unix.ErrnoName(x.errno), onward)
}

func (x injection) inject() []string {
	onward := ""
	if x.onward {
		onward = "+"
	}
	return []string{"-e", fmt.Sprintf("inject=%s:error=%s:when=%d%s", x.call, unix.ErrnoName(x.errno), x.n, onward)}
}

// ours: not what the command says to its caller, nor what Go's runtime does for itself.
func (p point) ours(dir string) bool {
	switch {
	case p.call == "write":
		return !strings.HasPrefix(p.text, "1,") && !strings.HasPrefix(p.text, "2,") && !strings.Contains(p.text, `"\1\0\0\0\0\0\0\0", 8`)
	case p.call == "openat":
		return !strings.HasPrefix(p.text, "AT_FDCWD") || strings.Contains(p.text, dir)
	}
	return true
}

// TestErrors lets a call of a verb fail: the verb says so, the file is a complete version, and when the fault is gone
// everything that was pending or acknowledged is there once.
func TestErrors(t *testing.T) {
	needsStrace(t)
	t.Logf("seed %d", *seed)
	began := time.Now()
	var all []injection
	for _, s := range prepared(t) {
		r, err := s.start()
		require.NoError(t, err)
		points, err := r.points(changing+",openat", s.args...)
		require.NoError(t, err)
		r.end()
		for _, p := range points {
			if !p.ours(r.dir) {
				continue
			}
			for i, errno := range errnos {
				if s.runner && p.call == "openat" && errno != unix.EMFILE {
					continue // to look at a path as the program is about to: it is taken to fail for it, too
				}
				if s.runner && errno == unix.EXDEV && !strings.HasPrefix(p.call, "rename") && !strings.HasPrefix(p.call, "link") {
					continue // no other call ends so, and mv, which is told, removes the file and copies instead
				}
				// A call that is interrupted for ever is no fault that there is; without write nothing can be said.
				onward := errno != unix.EINTR && p.call != "write" && (p.n+i)%2 == 1
				all = append(all, injection{killPoint{s, p}, errno, onward})
			}
		}
	}
	tried := chosen(selected(all), *errorsTried)
	var mu sync.Mutex
	surfaced, byErrno := 0, map[string]int{}
	each(t, tried, func(x injection) error {
		r, err := x.s.start()
		if err != nil {
			return err
		}
		defer r.end()
		o, err := finish(r.traced(x.call, x.inject(), x.s.args...))
		if err != nil {
			return err
		}
		mu.Lock()
		if !o.acknowledged() {
			surfaced++
		}
		byErrno[unix.ErrnoName(x.errno)]++
		mu.Unlock()
		if err := r.judge(o); err != nil {
			return fmt.Errorf("%v: %w; %s", x, err, r.injected())
		}
		return nil
	})
	t.Logf("%d of %d injections, %d of them returned as errors, %v, in %v", len(tried), len(all), surfaced, byErrno, time.Since(began).Round(time.Second))
}

// injected is the first call that failed, as strace wrote it.
func (r *run) injected() string {
	trace, _ := os.ReadFile(filepath.Join(r.dir, "trace"))
	for line := range strings.Lines(string(trace)) {
		if strings.Contains(line, "(INJECTED)") {
			return strings.TrimSpace(line)
		}
	}
	return "no call failed"
}

// statuses that say that something went wrong outside: see the manual.
var statuses = []int{65, 66, 73, 74, 75, 77, 125}

// judge looks at how a verb took a fault that is gone by now.
func (r *run) judge(o outcome) error {
	said := fmt.Sprintf("status %d, stdout %q, stderr %q", o.status, o.stdout, o.stderr)
	content, err := os.ReadFile(r.file)
	if err == nil {
		if _, err = r.count(content); err == nil && !r.s.missing && !bytes.Contains(content, []byte("\"keep\": 1.10")) {
			err = errors.New("bytes that nobody changed are gone")
		}
	} else if r.s.missing && errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("the file is no complete version: %w: %q; %s", err, content, said)
	}
	acknowledged := o.acknowledged() || strings.Contains(o.stdout, `"ok":true`) // of a batch, which may fail after that
	kept := strings.Contains(o.stderr, "kept pending") || strings.Contains(o.stdout, "kept pending")
	crashed := o.status == 2 && strings.HasPrefix(o.stderr, "runtime: netpollBreak write failed") // the fault met a call of the runtime's own
	switch {
	case acknowledged, crashed:
	case r.s.runner && (o.status == 1 || o.status == 2): // the program's own: its call failed, as it would have without us
	case !slices.Contains(statuses, o.status):
		return fmt.Errorf("no such status; %s", said)
	case !strings.HasPrefix(o.stderr, "jsonguard: ") && !strings.Contains(o.stdout, `"ok":false`):
		return fmt.Errorf("no clear error; %s", said)
	}
	if err := r.check(acknowledged || kept); err != nil {
		return fmt.Errorf("%w; %s", err, said)
	}
	if acknowledged || kept || crashed || r.s.runner || strings.Contains(o.stderr+o.stdout, "not known durable") {
		return nil
	}
	// It was said to have failed.
	if n, content, err := r.recovered(); err != nil || n != r.s.before {
		return fmt.Errorf("it was said to have failed, and happened (%w): %s; %s", err, content, said)
	}
	return nil
}

// TestShortWrites lets the kernel cut writes short, at any byte: RLIMIT_FSIZE does, with EFBIG for what follows.
func TestShortWrites(t *testing.T) {
	if _, err := exec.LookPath("prlimit"); err != nil {
		t.Skip("SKIPPED: prlimit is not installed: no write was cut short")
	}
	t.Logf("seed %d", *seed)
	type cut struct {
		s     *scenario
		limit int
	}
	var all []cut
	for _, s := range prepared(t) {
		const longest = 900
		for limit := 1; limit < longest && !s.runner; limit++ {
			all = append(all, cut{s, limit})
		}
	}
	tried := chosen(all, *limitsTried)
	var mu sync.Mutex
	surfaced := 0
	each(t, tried, func(x cut) error {
		r, err := x.s.start()
		if err != nil {
			return err
		}
		defer r.end()
		argv := append([]string{fmt.Sprintf("--fsize=%d", x.limit), binary}, r.args(x.s.args)...)
		o, err := finish(r.environment(exec.Command("prlimit", argv...)))
		if err != nil {
			return err
		}
		mu.Lock()
		if !o.acknowledged() {
			surfaced++
		}
		mu.Unlock()
		if err := r.judge(o); err != nil {
			return fmt.Errorf("%s, no file longer than %d bytes: %w", x.s.name, x.limit, err)
		}
		return nil
	})
	t.Logf("%d of %d limits, %d of them returned as errors", len(tried), len(all), surfaced)
	require.NotZero(t, surfaced)
}
