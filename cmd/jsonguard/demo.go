package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// The demo's size: on a slow machine both runs together end well under 20 seconds.
const (
	demoProcesses = 17
	demoRecords   = 66 // for each process
	demoThinks    = 15 * time.Millisecond
)

func (a *app) demoCommand() *cobra.Command {
	var dir string
	cmd := a.verb(groupProve, "demo [--dir DIR]", "See 17 programs lose records, and keep them",
		`Start 17 processes that share a JSON file as programs do (read all, add a record, write all), first bare, then the
same program under jsonguard exec, while an observer reads the file. It ends with a table and takes some seconds.
The files are in a new temporary directory and removed at the end; --dir keeps them. Status 74: the guarded run lost something.`,
		`  jsonguard demo
  jsonguard demo --dir /tmp/look`,
		between(0, 0), func(cmd *cobra.Command, args []string) error { return a.demo(cmd.Context(), dir) })
	cmd.Flags().StringVar(&dir, "dir", "", "make the files in this `DIR` and keep them")
	return startsPrograms(writes.mark(cmd))
}

// demoResult is one row of the table.
type demoResult struct {
	Run     string  `json:"run"`
	Written int     `json:"written"` // the programs said that they wrote it
	Kept    int     `json:"kept"`    // in the file at the end
	Lost    int     `json:"lost"`
	Torn    int     `json:"torn_reads"` // the observer read something that is no JSON
	Reads   int     `json:"reads"`
	Seconds float64 `json:"seconds"`
}

func (a *app) demo(ctx context.Context, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return &problem{op: "demo", err: err, status: statusIO}
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "jsonguard-demo-"); err != nil {
			return &problem{op: "demo", err: err, status: statusCreate}
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o777); err != nil {
		return &problem{op: "demo", path: dir, err: bare(err), status: statusCreate}
	}
	if !a.json && !a.quiet {
		a.printf("%d processes share one file; each reads all of it, adds a record and writes all of it, %d times.\n\n", demoProcesses, demoRecords)
	}
	var rows []demoResult
	for _, run := range []string{"bare", "guarded"} {
		row, err := a.demoRun(ctx, self, run, filepath.Join(dir, run+".json"))
		if err == nil {
			err = ctx.Err()
		}
		if errors.Is(err, context.Canceled) {
			return &problem{op: "demo", err: context.Canceled, hint: "its programs were stopped"}
		}
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	guarded := rows[1]
	if a.json {
		var o object
		o.add("runs", rows)
		a.println(o.String())
	} else {
		a.printf("%-22s %8s %8s %8s %11s %9s\n", "", "written", "kept", "lost", "torn reads", "seconds")
		for i, name := range []string{"bare", "under jsonguard exec"} {
			r := rows[i]
			lost := fmt.Sprintf("%8d", r.Lost)
			if r.Lost > 0 {
				lost = paint(a.stdout, "red", lost)
			} else {
				lost = paint(a.stdout, "green", lost)
			}
			a.printf("%-22s %8d %8d %s %11d %9.1f\n", name, r.Written, r.Kept, lost, r.Torn, r.Seconds)
		}
	}
	if guarded.Lost != 0 || guarded.Torn != 0 || guarded.Written != demoProcesses*demoRecords {
		return &problem{op: "demo", err: fmt.Errorf("the guarded run wrote %d of %d records, lost %d, and %d reads were torn", guarded.Written, demoProcesses*demoRecords, guarded.Lost, guarded.Torn),
			hint: "jsonguard doctor says what this filesystem can do", status: statusIO}
	}
	return nil
}

func (a *app) demoRun(ctx context.Context, self, run, file string) (demoResult, error) {
	row := demoResult{Run: run}
	if err := os.WriteFile(file, []byte("{\n  \"results\": []\n}\n"), 0o666); err != nil {
		return row, &problem{op: "demo", path: file, err: bare(err), status: statusCreate}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	watcher := observe(file)
	var written lineCounter // each program prints a line when it has written a record
	var complaints lockedBuffer
	var programs sync.WaitGroup
	var failed error
	for i := range demoProcesses {
		args := []string{"demo-runner", file, strconv.Itoa(i), strconv.Itoa(demoRecords)}
		if run == "guarded" {
			args = []string{"exec", "-q", "--file", file, "--", self, "demo-runner", "{}", strconv.Itoa(i), strconv.Itoa(demoRecords)}
		}
		c := gently(exec.CommandContext(ctx, self, args...))
		c.Stdout, c.Stderr = &written, &complaints
		if failed = c.Start(); failed != nil {
			stop()
			break
		}
		programs.Go(func() { _ = c.Wait() })
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		programs.Wait()
	}()
	a.progress(run, &written.lines, demoProcesses*demoRecords, ended)
	row.Reads, row.Torn = watcher.stop()
	if ctx.Err() == nil { // of programs that were stopped, what they say is no news
		_, _ = a.stderr.Write(complaints.text.Bytes())
	}
	if failed != nil {
		return row, &problem{op: "demo", path: self, err: bare(failed), status: statusIO}
	}
	row.Seconds = time.Since(began).Seconds()
	row.Written = int(written.lines.Load())
	row.Kept = countRecords(file)
	row.Lost = row.Written - row.Kept
	return row, nil
}

// gently stops a program by TERM, which exec passes on to its own, where the system has it.
func gently(c *exec.Cmd) *exec.Cmd {
	c.Cancel = func() error {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			return c.Process.Kill()
		}
		return nil
	}
	c.WaitDelay = 5 * time.Second
	return c
}

// lockedBuffer takes what several writers say. The buffer is no embedded one, whose ReadFrom io.Copy would prefer.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// lineCounter counts the lines of several writers.
type lineCounter struct{ lines atomic.Int64 }

func (l *lineCounter) Write(p []byte) (int, error) {
	l.lines.Add(int64(bytes.Count(p, []byte("\n"))))
	return len(p), nil
}

// progress draws a bar on a terminal until done is closed.
func (a *app) progress(what string, count *atomic.Int64, total int, done chan struct{}) {
	if a.quiet || !isTerminal(a.stderr) {
		<-done
		return
	}
	const width = 34
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		n := int(count.Load())
		bar := ""
		for i := range width {
			if i < n*width/total {
				bar += "█"
			} else {
				bar += "░"
			}
		}
		fmt.Fprintf(a.stderr, "\r%-8s %s %d/%d", what, bar, n, total)
		select {
		case <-done:
			fmt.Fprintf(a.stderr, "\r\x1b[K")
			return
		case <-tick.C:
		}
	}
}

// observer reads a file over and over, as anybody might.
type observer struct {
	quit, gone  chan struct{}
	reads, torn int
}

func observe(file string) *observer {
	o := &observer{quit: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		defer close(o.gone)
		var last []byte // that was whole
		for {
			select {
			case <-o.quit:
				return
			case <-time.After(time.Millisecond):
			}
			content, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			o.reads++
			if err == nil && bytes.Equal(content, last) {
				continue
			}
			if err != nil || !json.Valid(content) {
				o.torn++
				continue
			}
			last = content
		}
	}()
	return o
}

func (o *observer) stop() (reads, torn int) {
	close(o.quit)
	<-o.gone
	return o.reads, o.torn
}

// The program that is shown. It knows nothing of jsonguard.

type demoFile struct {
	Results []demoRecord `json:"results"`
}

type demoRecord struct {
	ID    string  `json:"id"`
	Model string  `json:"model"`
	OK    bool    `json:"ok"`
	Score float64 `json:"score"`
}

func (a *app) demoRunnerCommand() *cobra.Command {
	cmd := a.verb("", "demo-runner FILE NUMBER RECORDS", "A program that shares a JSON file", "What demo runs.", "", between(3, 3), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { // a program of its time: Ctrl-C ends it wherever it is
		number, err1 := strconv.Atoi(args[1])
		records, err2 := strconv.Atoi(args[2])
		if err := errors.Join(err1, err2); err != nil {
			return usage("", "demo-runner: %v", err)
		}
		for i := range records {
			data := naiveRead(args[0])
			time.Sleep(demoThinks)
			data.Results = append(data.Results, demoRecord{
				ID: fmt.Sprintf("p%02d-%04d", number, i), Model: fmt.Sprintf("model-%d", number%5), OK: i%3 != 0, Score: float64(i) / 8,
			})
			if err := naiveWrite(args[0], data); err != nil {
				return err
			}
			a.println(number, i)
		}
		return nil
	}
	cmd.Hidden = true
	return writes.mark(cmd)
}

// naiveRead is `json.load(open(f))`, kinder than most: it tries again for a while when it meets half a file, before
// it does what programs do then, and starts with an empty one.
func naiveRead(file string) demoFile {
	var data demoFile
	const tries = 20
	for range tries {
		content, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(content, &data) == nil {
			return data
		}
		data = demoFile{}
		time.Sleep(time.Millisecond)
	}
	return data
}

// naiveWrite is `json.dump(data, open(f, "w"), indent=2)`: the file is empty first, and then filled piece by piece.
func naiveWrite(file string, data demoFile) error {
	text, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	const buffer = 8192 // Python's
	for len(text) > 0 {
		n := min(buffer, len(text))
		if _, err := f.Write(text[:n]); err != nil {
			return errors.Join(err, f.Close())
		}
		text = text[n:]
	}
	return f.Close()
}

// countRecords counts different records; a file that is no JSON any more has none.
func countRecords(file string) int {
	content, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	var data demoFile
	if json.Unmarshal(content, &data) != nil {
		return 0
	}
	ids := map[string]bool{}
	for _, r := range data.Results {
		ids[r.ID] = true
	}
	return len(ids)
}
