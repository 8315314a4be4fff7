package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	single["opens"] = opens
}

// execCosts: what a program pays for running under jsonguard exec, in turn with the bare program.
func execCosts(b *bench) error {
	if runtime.GOOS != "linux" {
		b.skipped = append(b.skipped, "exec: no interception here")
		return nil
	}
	start := func(dir string) error { return b.atLeastRuns(60, func() error { return b.execStart(dir) }) }
	for _, measure := range []func(string) error{start, b.execOpens, b.execBuild, b.execPython, b.execMemory, b.execDemo} {
		dir := filepath.Join(b.work, "exec")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := measure(dir); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// guarded is argv under exec; files are the --file patterns.
func (b *bench) guarded(files []string, argv ...string) []string {
	args := []string{b.command, "exec", "--mode", "intercept", "-q"}
	for _, f := range files {
		args = append(args, "--file", f)
	}
	return append(append(args, "--"), argv...)
}

// running is argv in dir, again and again.
func running(dir string, argv []string, env ...string) func() error {
	return func() error {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
		return cmd.Run()
	}
}

// atLeastRuns measures with more runs than were asked for, where one is short.
func (b *bench) atLeastRuns(runs int, f func() error) error {
	asked := b.runs
	b.runs = max(runs, asked)
	defer func() { b.runs = asked }()
	return f()
}

func (b *bench) atMostOf(unit, what string, measured, asked float64) {
	b.figures = append(b.figures, figure{what: what, unit: unit, asked: asked, atMost: true, measured: measured})
}

func (b *bench) execStart(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "data.json"), []byte("{\"a\": 1}\n"), 0o644); err != nil {
		return err
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		return err
	}
	names := []string{"true", "exec --file data.json -- true", "exec -- true, files are guessed", "exec -- true, nothing to guard"}
	seconds, _, err := b.times(nil,
		running(dir, []string{"true"}), running(dir, b.guarded([]string{"data.json"}, "true")),
		running(dir, b.guarded(nil, "true")), running(empty, b.guarded(nil, "true")))
	if err != nil {
		return err
	}
	for i, name := range names {
		fmt.Printf("  %-60s %10.2f ms\n", name, seconds[i]*1e3)
		if i > 0 {
			b.atMostOf("ms", name+": start over the bare program", (seconds[i]-seconds[0])*1e3, 6)
		}
	}
	return nil
}

// opens opens a file again and again and prints what one takes at best, in nanoseconds: the median of a machine that others use as
// well says more about them.
func opens(args []string) int {
	flags := os.O_RDONLY
	if args[0] == "write" {
		flags = os.O_WRONLY
	}
	path, err := syscall.BytePtrFromString(args[1])
	if err != nil {
		return report(err)
	}
	runtime.LockOSThread()
	const rounds, each = 400, 200
	at, best := unix.AT_FDCWD, math.Inf(1)
	for range rounds {
		began := time.Now()
		for range each {
			fd, _, e := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(path)), uintptr(flags), 0, 0, 0)
			if e != 0 {
				return report(e)
			}
			_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		}
		best = min(best, float64(time.Since(began).Nanoseconds())/each)
	}
	fmt.Printf("%.0f\n", best)
	return 0
}

func (b *bench) execOpens(dir string) error {
	for name, content := range map[string]string{"data.json": "{}\n", "other.txt": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, kind := range []struct {
		name  string
		bound float64   // µs
		floor floorKind // that does what has to be done
		does  string
	}{{"read", 5, floorReads, "reads the path"}, {"write", 8, floorLooks, "looks"}} {
		opener := []string{"env", "BENCH_ROLE=opens", b.self, kind.name, "other.txt"}
		var took [4][]float64 // µs
		for range max(5, b.runs) {
			for i, argv := range [][]string{opener, b.guarded([]string{"data.json"}, opener...), b.under(floorAnswers, opener...), b.under(kind.floor, opener...)} {
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.Dir, cmd.Stderr = dir, os.Stderr
				out, err := cmd.Output()
				if err != nil {
					return err
				}
				ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
				if err != nil {
					return err
				}
				took[i] = append(took[i], ns/1e3)
			}
		}
		bare, ours, answers, does := slices.Min(took[0]), slices.Min(took[1]), slices.Min(took[2]), slices.Min(took[3])
		fmt.Printf("  %-46s bare %7.2f µs   guarded %7.2f µs   floor: answers %7.2f µs, %s %7.2f µs\n", kind.name+"-open of another file", bare, ours, answers, kind.does, does)
		b.atMostOf("µs", fmt.Sprintf("exec, %s-open of another file: over bare (floor %.2f)", kind.name, does-bare), ours-bare, kind.bound)
	}
	return nil
}

// pair measures a program and the same under exec.
func (b *bench) pair(what string, asked float64, before func() error, bare, guarded func() error) error {
	return b.pairAbove(nil, 0, what, asked, before, bare, guarded)
}

// pairAbove measures the program under a floor as well, whose own start takes some seconds that are not counted.
func (b *bench) pairAbove(floor func() error, start float64, what string, asked float64, before func() error, bare, guarded func() error) error {
	all := []func() error{bare, guarded}
	if floor != nil {
		all = append(all, floor)
	}
	seconds, ratios, err := b.times(before, all...)
	if err != nil {
		return err
	}
	fmt.Printf("  %-60s bare %8.3f s   guarded %8.3f s\n", what, seconds[0], seconds[1])
	name := "exec, " + what + " : bare"
	if floor != nil {
		name += fmt.Sprintf(" (floor %.2f)", ratios[2]-start/seconds[0])
	}
	b.atMost(name, ratios[1], asked)
	return nil
}

// execBuild: thousands of opens by many processes, none of which matters.
func (b *bench) execBuild(dir string) error {
	n := 0
	change := func() error {
		n++
		return os.WriteFile(filepath.Join(dir, "main.go"), fmt.Appendf(nil, "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(%d) }\n", n), 0o644)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module hello\n"), 0o644), change()); err != nil {
		return err
	}
	cache := filepath.Join(dir, "cache")
	build := []string{"go", "build", "-o", "hello", "."}
	bare, guarded := running(dir, build, "GOCACHE="+cache, "GOFLAGS="), running(dir, b.guarded(nil, build...), "GOCACHE="+cache, "GOFLAGS=")
	floor := running(dir, b.under(floorBuild, build...), "GOCACHE="+cache, "GOFLAGS=")
	var start float64
	err := b.atLeastRuns(15, func() error {
		seconds, _, err := b.times(nil, running(dir, []string{"true"}), running(dir, b.under(floorBuild, "true")))
		if err == nil {
			start = seconds[1] - seconds[0]
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := b.pairAbove(floor, start, "go build, nothing cached", 1.05, func() error { return os.RemoveAll(cache) }, bare, guarded); err != nil {
		return err
	}
	return b.atLeastRuns(15, func() error { return b.pairAbove(floor, start, "go build after a change", 1.05, change, bare, guarded) })
}

// rewriter loads the document, changes a record and dumps it, as a runner does that keeps its results in one file. A third argument
// says which of several it is: each has records of its own.
const rewriter = `import json, sys
for i in range(int(sys.argv[2])):
    with open(sys.argv[1]) as f: d = json.load(f)
    d["records"]["r%07d" % (i * 37 + int((sys.argv[3:] or [0])[0]))]["score"] = -i
    with open(sys.argv[1], "w") as f: json.dump(d, f, indent=2)
`

func pythonHere() string {
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func (b *bench) execPython(dir string) error {
	python := pythonHere()
	if python == "" {
		b.skipped = append(b.skipped, "exec, Python: no python3")
		return nil
	}
	content := document(10)
	path := filepath.Join(dir, "data.json")
	run := []string{python, "-c", rewriter, "data.json", "5"}
	return b.atLeastRuns(5, func() error {
		return b.pair("Python loads, changes, dumps 10 MB, 5 times", 1.15, func() error { return os.WriteFile(path, content, 0o644) },
			running(dir, run), running(dir, b.guarded([]string{"data.json"}, run...)))
	})
}

// execMemory: the most that a supervisor ever held, against the document: alone, and with another one whose program writes the same
// file, so that versions are merged.
func (b *bench) execMemory(dir string) error {
	python := pythonHere()
	if python == "" {
		b.skipped = append(b.skipped, "exec, memory of the supervisor: no python3")
		return nil
	}
	for _, supervisors := range []int{1, 2} {
		for _, megabytes := range []int{10, 50} {
			if err := b.execMemoryOf(dir, python, supervisors, megabytes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) execMemoryOf(dir, python string, supervisors, megabytes int) error {
	path := filepath.Join(dir, "data.json")
	if err := os.WriteFile(path, document(megabytes), 0o644); err != nil {
		return err
	}
	ended := make(chan error, supervisors)
	peaks := map[int]float64{} // by pid
	for k := range supervisors {
		argv := b.guarded([]string{"data.json"}, python, "-c", rewriter, "data.json", "4", strconv.Itoa(k))
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		peaks[cmd.Process.Pid] = 0
		go func() { ended <- cmd.Wait() }()
	}
	for running := supervisors; running > 0; {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
			running--
		case <-time.After(5 * time.Millisecond):
			for pid := range peaks {
				if now, err := peakMemory(pid); err == nil {
					peaks[pid] = now
				}
			}
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	what := "memory of the supervisor"
	if supervisors > 1 {
		what = "memory of a supervisor that merges"
	}
	peak := slices.Max(slices.Collect(maps.Values(peaks)))
	fmt.Printf("  %-46s %7.1f MB for %.1f MB\n", fmt.Sprintf("%s, %d MB", what, megabytes), peak/1e6, float64(info.Size())/1e6)
	b.atMost(fmt.Sprintf("exec, %s : document, %d MB", what, megabytes), peak/float64(info.Size()), 3)
	return nil
}

// peakMemory of a process in bytes.
func peakMemory(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kB * 1024, err
		}
	}
	return 0, errors.New("no VmHWM")
}

// execDemo: seventeen supervisors and one small file.
func (b *bench) execDemo(dir string) error {
	began := time.Now()
	cmd := exec.Command(b.command, "demo", "-q", "--json", "--dir", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	total := time.Since(began).Seconds()
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	fmt.Printf("  %-60s %10.1f s   %8.1f s of processor time\n", "jsonguard demo, bare and guarded", total, used.Seconds())
	b.atMostOf("s", "jsonguard demo", total, 20)
	return nil
}
