//go:build unix

package concurrency

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// fairWorker: FILE KIND DURATION, in a process of its own; prints how many operations it was served.
func fairWorker(args []string) int {
	file, kind := args[0], args[1]
	wait, _ := time.ParseDuration(args[2])
	ctx := context.Background()
	g, err := sidecar.Open(file, sidecar.Options{Timeout: 2 * time.Minute})
	if err != nil {
		return fail(err)
	}
	defer g.Close()
	served := 0
	incr := merge.Op{Kind: merge.OpIncr, At: "/" + kind, Value: merge.Raw("1")}
	for until := time.Now().Add(wait); time.Now().Before(until) && err == nil; {
		switch kind {
		case "apply":
			_, err = g.Apply(ctx, incr)
		case "update":
			_, err = g.Update(ctx, func(d *merge.Document) error { return d.Do(incr) })
		case "poll": // as Python's filelock does
			var ok bool
			if ok, err = tryFlock(file + ".lock"); ok {
				served++
			}
			time.Sleep(50 * time.Millisecond)
			continue
		}
		served++
	}
	if err != nil {
		return fail(err)
	}
	fmt.Println(served)
	return 0
}

func tryFlock(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil, nil
}

// One process folds for many, again and again. Who takes turns with it in the kernel's queue is served all the same.
func TestAFolderLeavesTurnsToUpdates(t *testing.T) {
	const appliers, updaters = 8, 2
	serve(t, 3*time.Second, map[string]int{"apply": appliers, "update": updaters}, "an Update gets less than a quarter of what an Apply gets",
		func(served map[string]int) bool {
			return 4*served["update"]/updaters >= served["apply"]/appliers
		})
}

// Who only tries now and then finds the lock free between two folds.
func TestAFolderLeavesTurnsToThoseWhoPoll(t *testing.T) {
	serve(t, 8*time.Second, map[string]int{"apply": 8, "poll": 1}, "it never got the lock", func(served map[string]int) bool { return served["poll"] > 0 })
}

// serve runs so many processes of each kind for a while, and for longer where that was not fair: a slow machine serves few in a
// while, and then it may be chance.
func serve(t *testing.T, wait time.Duration, kinds map[string]int, unfair string, fair func(served map[string]int) bool) {
	for range 3 {
		if fair(serveOnce(t, wait, kinds)) {
			return
		}
		wait *= 3
	}
	t.Fatal(unfair)
}

// serveOnce says how often each kind was served, on a file that takes its time to be folded.
func serveOnce(t *testing.T, wait time.Duration, kinds map[string]int) (served map[string]int) {
	file := filepath.Join(t.TempDir(), "a.json")
	var content strings.Builder
	content.WriteString(`{"apply": 0, "update": 0`)
	for i := range 20_000 {
		fmt.Fprintf(&content, ",\n\"record %d\": {\"name\": \"a name of some length\", \"value\": %d}", i, i)
	}
	content.WriteString("}\n")
	require.NoError(t, os.WriteFile(file, []byte(content.String()), 0o644))
	type process struct {
		kind string
		cmd  *exec.Cmd
		out  strings.Builder
	}
	var all []*process
	for kind, n := range kinds {
		for range n {
			p := &process{kind: kind, cmd: exec.Command(os.Args[0], file, kind, wait.String())}
			p.cmd.Env = append(os.Environ(), "CONCURRENCY_ROLE=fair")
			p.cmd.Stdout, p.cmd.Stderr = &p.out, os.Stderr
			require.NoError(t, p.cmd.Start())
			all = append(all, p)
		}
	}
	served = map[string]int{}
	for _, p := range all {
		require.NoError(t, p.cmd.Wait())
		n, err := strconv.Atoi(strings.TrimSpace(p.out.String()))
		require.NoError(t, err)
		t.Logf("%s: %d", p.kind, n)
		served[p.kind] += n
	}
	return served
}
