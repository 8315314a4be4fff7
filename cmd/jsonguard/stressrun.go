package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"jsonguard/merge"
)

// stressKinds are the three ways in.
var stressKinds = []string{"library", "verb", "exec"}

// stressRun is the parent of a stress run: it starts workers, reads their acknowledgements and kills them.
//
// A worker prints a line "try ID" before it does an operation and "ack ID" when that was acknowledged. The parent
// starts a killed worker again behind the last id it tried.
type stressRun struct {
	a    *app
	self string
	file string
	o    stressOptions

	mu      sync.Mutex
	tried   map[string]bool
	acked   map[string]string // id → kind
	kills   int
	errors  []string
	victims map[int]*exec.Cmd // by number of the worker
	killed  map[*exec.Cmd]bool
}

func newStressRun(a *app, file string, o stressOptions) (*stressRun, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, &problem{op: "stress", err: err, status: statusIO}
	}
	return &stressRun{a: a, self: self, file: file, o: o, tried: map[string]bool{}, acked: map[string]string{},
		victims: map[int]*exec.Cmd{}, killed: map[*exec.Cmd]bool{}}, nil
}

func (r *stressRun) do(ctx context.Context) (*stressReport, error) {
	began := time.Now()
	watcher := observe(r.file)
	interrupted := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var workers sync.WaitGroup
	for i := range r.o.procs {
		workers.Go(func() { r.keepRunning(ctx, i) })
	}
	killer := make(chan struct{})
	go func() {
		defer close(killer)
		if r.o.kill {
			r.killAtRandom(ctx)
		}
	}()
	workers.Wait()
	stop()
	<-killer
	seconds := time.Since(began).Seconds()
	if err := interrupted.Err(); err != nil {
		watcher.stop()
		return nil, err
	}
	err := r.recoverAll(context.Background())
	reads, torn := watcher.stop()
	if err != nil {
		return nil, err
	}
	report, err := r.check()
	if err != nil {
		return nil, err
	}
	report.Seconds, report.Reads, report.Torn = seconds, reads, torn
	report.PerSecond = float64(len(r.acked)) / seconds
	return report, nil
}

// keepRunning runs one worker until all its operations were tried.
func (r *stressRun) keepRunning(ctx context.Context, number int) {
	kind := stressKinds[number%len(stressKinds)]
	const patience = 10 // unexplained deaths
	failures := 0
	for next := 0; next < r.o.updates && ctx.Err() == nil; {
		tried, wasKilled, err := r.runWorker(ctx, kind, number, next)
		next = max(next, tried+1)
		if err == nil {
			return
		}
		if !wasKilled {
			failures++
			r.mu.Lock()
			r.errors = append(r.errors, fmt.Sprintf("%s worker %d: %v", kind, number, err))
			r.mu.Unlock()
			if failures >= patience {
				return
			}
		}
	}
}

// runWorker returns the number of the last operation it tried.
func (r *stressRun) runWorker(ctx context.Context, kind string, number, from int) (last int, wasKilled bool, err error) {
	last = from - 1
	work := []string{"stress-worker", kind, r.file, strconv.Itoa(number), strconv.Itoa(from), strconv.Itoa(r.o.updates)}
	if kind == "exec" {
		work[2] = "{}"
		work = append([]string{"exec", "-q", "--timeout", "60s", "--file", r.file, "--", r.self}, work...)
	}
	cmd := gently(exec.CommandContext(ctx, r.self, work...))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return last, false, err
	}
	if err := cmd.Start(); err != nil {
		return last, false, err
	}
	r.mu.Lock()
	r.victims[number] = cmd
	r.mu.Unlock()
	var held []string // exec: acknowledged when the wrapper ends with 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, id, _ := strings.Cut(lines.Text(), " ")
		r.mu.Lock()
		switch {
		case word == "try":
			r.tried[id] = true
			if _, n, ok := strings.Cut(id, "-"); ok {
				if i, err := strconv.Atoi(n); err == nil {
					last = max(last, i)
				}
			}
		case word == "ack" && kind == "exec":
			held = append(held, id)
		case word == "ack":
			r.acked[id] = kind
		}
		r.mu.Unlock()
	}
	err = cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.victims, number)
	if err == nil {
		for _, id := range held {
			r.acked[id] = kind
		}
		return last, false, nil
	}
	if text := strings.TrimSpace(complaints.String()); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return last, r.killed[cmd], err
}

// killAtRandom kills a worker every now and then; of exec it is the wrapper, whose program goes on by itself.
func (r *stressRun) killAtRandom(ctx context.Context) {
	random := rand.New(rand.NewPCG(r.o.seed, 1))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(5+random.IntN(60)) * time.Millisecond):
		}
		r.mu.Lock()
		if cmd := r.victims[random.IntN(r.o.procs)]; cmd != nil && cmd.Process.Kill() == nil {
			r.killed[cmd] = true
			r.kills++
		}
		r.mu.Unlock()
	}
}

// check compares the file with what was acknowledged.
func (r *stressRun) check() (*stressReport, error) {
	content, err := os.ReadFile(r.file)
	if err != nil {
		return nil, &problem{op: "stress", path: r.file, err: bare(err), status: statusIO}
	}
	var doc struct {
		Log     []string        `json:"log"`
		Library int             `json:"library"`
		Verb    int             `json:"verb"`
		Others  json.RawMessage `json:"others"`
	}
	if err := json.Unmarshal(content, &doc); err != nil {
		return nil, &problem{op: "stress", path: r.file, err: err, status: statusIO}
	}
	report := &stressReport{Seed: r.o.seed, Acked: map[string]int{}, Kills: r.kills, Errors: notNil(r.errors),
		Lost: []string{}, Doubled: []string{}, Counters: []string{}}
	seen := map[string]int{}
	inFile := map[string]int{} // by kind
	for _, id := range doc.Log {
		if seen[id]++; seen[id] == 2 {
			report.Doubled = append(report.Doubled, id)
		}
		kind, _, _ := strings.Cut(id, ".")
		inFile[kind]++
	}
	for id, kind := range r.acked {
		report.Acked[kind]++
		if seen[id] == 0 {
			report.Lost = append(report.Lost, id)
		}
	}
	for id := range r.tried {
		if r.acked[id] == "" {
			report.Unknown++
		}
	}
	for id := range seen {
		if !r.tried[id] {
			report.Errors = append(report.Errors, "an id nobody wrote: "+id)
		}
	}
	report.Kept = len(seen)
	// The library adds the id and the count in one operation: they are equal, whoever was killed. A verb does one of
	// the two at a time, the count first.
	if doc.Library != inFile["library"] {
		report.Counters = append(report.Counters, fmt.Sprintf("counter library is %d, not %d", doc.Library, inFile["library"]))
	}
	tried := 0
	for id := range r.tried {
		if strings.HasPrefix(id, "verb.") {
			tried++
		}
	}
	if doc.Verb < inFile["verb"] || doc.Verb > tried || !r.o.kill && doc.Verb != inFile["verb"] {
		report.Counters = append(report.Counters, fmt.Sprintf("counter verb is %d, not between %d and %d", doc.Verb, inFile["verb"], tried))
	}
	// Not byte for byte: where nobody else wrote meanwhile, a file is as the program under exec wrote it.
	var before struct{ Others json.RawMessage }
	if err := json.Unmarshal(stressDocument(r.o.size), &before); err != nil {
		return nil, err
	}
	report.Others = bytes.Equal(merge.Compact(nil, before.Others), merge.Compact(nil, doc.Others))
	return report, nil
}
