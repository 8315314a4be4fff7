//go:build unix

package kills

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// arena is one file and the processes that are killed at it.
type arena struct {
	file   string
	random *rand.Rand
	procs  []*process

	mu     sync.Mutex
	tried  map[string]bool
	acked  map[string]bool
	killed map[string]int // by part
	names  int
}

func newArena(dir string, random *rand.Rand) (*arena, error) {
	a := &arena{file: filepath.Join(dir, "data.json"), random: random, tried: map[string]bool{}, acked: map[string]bool{}, killed: map[string]int{}}
	return a, os.WriteFile(a.file, []byte(`{"keep": 1.10, "count": 0, "log": []}`+"\n"), 0o600)
}

// process is one worker.
type process struct {
	a      *arena
	role   string
	cmd    *exec.Cmd
	stdin  *os.File
	lines  chan string   // what it said, other than try and ack
	first  chan struct{} // closed when it has tried something
	ended  chan struct{} // closed when nobody can say anything any more
	runner int           // pid, under a wrapper
	errs   strings.Builder
	done   bool
}

// start starts a worker; role wrapper is one under jsonguard exec.
func (a *arena) start(role string) (*process, error) {
	a.names++
	name := fmt.Sprintf("%s%d", role, a.names)
	p := &process{a: a, role: role, lines: make(chan string, 1000), first: make(chan struct{}), ended: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	as := role
	if p.cmd = exec.Command(self, a.file, name); role == wrapper {
		as = runner
		p.cmd = exec.Command(binary, "exec", "-q", "--mode", "copy", "--timeout", "5m", "--file", a.file, "--", self, "{}", name)
	}
	p.cmd.Env = append(os.Environ(), "KILLS_ROLE="+as)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = &p.errs
	p.cmd.WaitDelay = time.Second // a runner may hold it open
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stdin, p.stdin = w, in, stdin
	err = p.cmd.Start()
	_, _ = w.Close(), in.Close()
	if err != nil {
		_ = stdin.Close()
		return nil, err
	}
	a.procs = append(a.procs, p)
	go p.listen(out)
	return p, nil
}

func (p *process) listen(out *os.File) {
	defer close(p.ended)
	defer out.Close()
	var once sync.Once
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		p.a.mu.Lock()
		switch word {
		case "try":
			p.a.tried[rest] = true
			once.Do(func() { close(p.first) })
		case "ack":
			p.a.acked[rest] = true
		case "pid":
			p.runner, _ = strconv.Atoi(rest)
		}
		p.a.mu.Unlock()
		if word != "try" && word != "ack" {
			select {
			case p.lines <- word:
			default: // a recoverer says the same again and again
			}
		}
	}
}

const patience = 5 * time.Minute

// said waits until it has said a word.
func (p *process) said(word string) error {
	deadline := time.After(patience)
	for {
		select {
		case line := <-p.lines:
			if line == word {
				return nil
			}
		case <-p.ended:
			return fmt.Errorf("%s ended and never said %q: %s", p.role, word, &p.errs)
		case <-deadline:
			return fmt.Errorf("%s does not say %q", p.role, word)
		}
	}
}

func (p *process) hasTried() error {
	select {
	case <-p.first:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s ended and never tried anything: %s", p.role, &p.errs)
	case <-time.After(patience):
		return fmt.Errorf("%s does not try anything", p.role)
	}
}

// pause is a random moment, short ones more often.
func (a *arena) pause(most time.Duration) {
	time.Sleep(time.Duration(a.random.Int64N(int64(most)) * a.random.Int64N(1000) / 1000))
}

// kill kills a process in a part, which is counted. The parts of an exec: wrapper, runner, group.
func (p *process) kill(part string) error {
	pid := p.cmd.Process.Pid
	switch part {
	case runner:
		p.a.mu.Lock()
		pid = p.runner
		p.a.mu.Unlock()
	case group:
		pid = -pid
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w: %s", part, err, &p.errs)
	}
	p.a.mu.Lock()
	p.a.killed[part]++
	p.a.mu.Unlock()
	return nil
}

// end kills whatever is left of everything, and waits for it.
func (a *arena) end() {
	for _, p := range a.procs {
		if !p.done {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			_ = p.cmd.Wait()
			p.done = true
			_ = p.stdin.Close()
		}
	}
	for _, p := range a.procs {
		<-p.ended
	}
}

// check recovers for good, and counts.
func (a *arena) check() error {
	pending := filepath.Join(filepath.Dir(a.file), "."+filepath.Base(a.file)+".guard", "pending")
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		out, err := exec.Command(binary, "recover", "--timeout", "5m", a.file).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 65) { // 65: a torn copy went to quarantine
			return fmt.Errorf("recover: %w: %s", err, out)
		}
		left, err := os.ReadDir(pending)
		if err != nil || len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sidecars stay: %v: %s", left, out)
		}
	}
	raw, err := os.ReadFile(a.file)
	if err != nil {
		return err
	}
	var doc struct {
		Keep    float64
		Count   int
		Log     []string
		Records map[string]int
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%w: %s", err, raw)
	}
	counts := map[string]int{}
	for _, id := range doc.Log {
		counts[id]++
	}
	for id := range doc.Records {
		counts[id]++
	}
	switch {
	case doc.Count != len(doc.Log):
		return fmt.Errorf("counted %d, listed %d", doc.Count, len(doc.Log))
	case doc.Keep != 1.1:
		return fmt.Errorf("what nobody changed is gone: %.100s", raw)
	}
	for id := range a.acked {
		if counts[id] == 0 {
			return fmt.Errorf("lost: %s", id)
		}
	}
	for id, n := range counts {
		if n > 1 || !a.tried[id] {
			return fmt.Errorf("%d times, and tried: %v: %s", n, a.tried[id], id)
		}
	}
	return nil
}
