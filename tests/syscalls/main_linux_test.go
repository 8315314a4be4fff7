package syscalls

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/tests/command"
)

var (
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the choice among the points")
	only = flag.String("only", "", "a regular expression: only such points, as a failure names them")
)

var (
	binary string // the command
	place  string // where the files are
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := build(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(run func() int) (int, error) {
	memory := "/dev/shm"
	if unix.Access(memory, unix.W_OK) != nil {
		memory = "" // the usual place
	}
	var err error
	if place, err = os.MkdirTemp(memory, "jsonguard-syscalls-*"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(place)
	// One more file keeps its main goroutine on one thread.
	more, err := filepath.Abs("../../cmd/jsonguard/onethread.go")
	if err != nil {
		return 0, err
	}
	source, err := filepath.Abs("testdata/onethread.go.txt")
	if err != nil {
		return 0, err
	}
	binary = filepath.Join(place, "jsonguard")
	if err := command.Build(binary, "jsonguard", map[string]string{more: source}); err != nil {
		return 0, err
	}
	return run(), nil
}

func needsStrace(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIPPED: strace is not installed: nothing was done to system calls")
	}
	if out, err := exec.Command("strace", "-o", "/dev/null", "-e", "inject=getpid:signal=SIGCONT:when=1", "true").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: strace cannot inject here: %s", out)
	}
}

// selected are those that -only names.
func selected[T fmt.Stringer](all []T) []T {
	pattern := regexp.MustCompile(*only)
	return slices.DeleteFunc(all, func(x T) bool { return !pattern.MatchString(x.String()) })
}

// chosen is n of all, by the seed; 0 is all of them.
func chosen[T any](all []T, n int) []T {
	rand.New(rand.NewPCG(*seed, 4)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if n == 0 || n > len(all) {
		n = len(all)
	}
	return all[:n]
}

// each does something to all, several at a time, until enough went wrong.
func each[T any](t *testing.T, all []T, do func(T) error) {
	const enough = 5
	queue := make(chan T, len(all))
	for _, x := range all {
		queue <- x
	}
	close(queue)
	var mu sync.Mutex
	failures := 0
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) + 1 { // a process is started by one and waited for by another
		workers.Go(func() {
			for x := range queue {
				err := do(x)
				mu.Lock()
				if err != nil {
					failures++
					t.Errorf("%v", err)
				}
				stop := failures >= enough
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	workers.Wait()
}
