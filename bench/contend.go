package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tally is what one worker process reports.
type tally struct {
	Ops   int     `json:"ops"`
	Waits []int64 `json:"waits"` // of each operation, µs
	Error string  `json:"error,omitempty"`
}

// contention is what N processes reached together.
type contention struct {
	perSecond float64
	median    int64   // µs
	longest   int64   // µs
	share     float64 // of the slowest process, of what would be fair
	cpu       float64 // seconds of processor time for each operation
}

// contend lets n worker processes of a peer work on one place for a while.
func (b *bench) contend(p peer, n, megabytes, run int) (contention, error) {
	dir := filepath.Join(b.work, fmt.Sprintf("%s-%d-%d-%d", strings.ReplaceAll(p.name, " ", "-"), n, megabytes, run))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return contention{}, err
	}
	defer os.RemoveAll(dir)
	if err := p.prepare(b, dir, megabytes); err != nil {
		return contention{}, err
	}
	type running struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out io.ReadCloser
	}
	var workers []running
	for i := range n {
		cmd := p.worker(b, dir, i)
		if b.halved && p.ours {
			cmd.Env = append(cmd.Env, "BENCH_HALVED=1")
		}
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return contention{}, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return contention{}, err
		}
		if err := cmd.Start(); err != nil {
			return contention{}, err
		}
		workers = append(workers, running{cmd, in, out})
	}
	for _, w := range workers { // everybody is up before anybody starts
		var ready [6]byte
		if _, err := io.ReadFull(w.out, ready[:]); err != nil {
			return contention{}, fmt.Errorf("%s: a worker did not start: %w", p.name, err)
		}
	}
	began := time.Now()
	for _, w := range workers {
		if _, err := fmt.Fprintf(w.in, "%d\n", began.Add(time.Duration(b.seconds*float64(time.Second))).UnixMilli()); err != nil {
			return contention{}, err
		}
	}
	total, least, cpu := 0, -1, time.Duration(0)
	var waits []int64
	var last time.Duration
	for _, w := range workers {
		var t tally
		if err := json.NewDecoder(w.out).Decode(&t); err != nil {
			return contention{}, fmt.Errorf("%s: %w", p.name, err)
		}
		last = max(last, time.Since(began))
		if err := w.cmd.Wait(); err != nil || t.Error != "" {
			return contention{}, fmt.Errorf("%s: %v %s", p.name, err, t.Error)
		}
		cpu += w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()
		total += t.Ops
		waits = append(waits, t.Waits...)
		if least < 0 || t.Ops < least {
			least = t.Ops
		}
	}
	c := contention{perSecond: float64(total) / last.Seconds(), median: median(waits), share: float64(least) * float64(n) / float64(max(total, 1))}
	c.cpu = cpu.Seconds() / float64(max(total, 1))
	for _, w := range waits {
		c.longest = max(c.longest, w)
	}
	return c, nil
}

// loop is the life of a worker written in Go: say that it is ready, read until when, work, report.
func loop(operation func(i int) error) int {
	fmt.Print("ready\n")
	var until int64
	if _, err := fmt.Scan(&until); err != nil {
		return 1
	}
	deadline := time.UnixMilli(until)
	if os.Getenv("BENCH_HALVED") != "" {
		once := operation
		operation = func(i int) error { return errors.Join(once(2*i), once(2*i+1)) }
	}
	var t tally
	for i := 0; time.Now().Before(deadline); i++ {
		began := time.Now()
		if err := operation(i); err != nil {
			t.Error = err.Error()
			break
		}
		t.Ops++
		t.Waits = append(t.Waits, time.Since(began).Microseconds())
	}
	if err := json.NewEncoder(os.Stdout).Encode(t); err != nil {
		return 1
	}
	return 0
}

// name of the record that operation i of a worker writes: the same ones over and over, so that the document keeps the
// size that the table says.
func name(worker, i int) string { return "w" + strconv.Itoa(worker) + "-" + strconv.Itoa(i%50) }
