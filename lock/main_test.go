package lock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var long = flag.Bool("long", false, "run what takes half a minute as well")

// The test binary is also the other processes: run with LOCK_ROLE in its environment it takes locks instead of
// running tests, and says on its standard output what it got.
func TestMain(m *testing.M) {
	role := os.Getenv("LOCK_ROLE")
	if role == "" {
		flag.Parse()
		os.Exit(m.Run())
	}
	if err := roles[role](os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stdout, "error %v\n", err)
		os.Exit(1)
	}
}

var roles = map[string]func(args []string) error{
	"hold": holdRole, "count": countRole, "turns": turnsRole, "acquire": acquireRole, "probe": probeRole, "add slowly": slowRole,
}

// parseOptions reads what asked wrote.
func parseOptions(args []string) (target string, opts []Option) {
	target = args[0]
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "shared":
			opts = append(opts, Shared())
		case "inherit":
			opts = append(opts, Inherit())
		case "at":
			opts = append(opts, At(value))
		case "timeout":
			d, err := time.ParseDuration(value)
			if err != nil {
				panic(err)
			}
			opts = append(opts, Timeout(d))
		}
	}
	return target, opts
}

// holdRole takes the lock, says "held", and keeps it until its standard input ends. Asked "check", it says what Check
// says.
func holdRole(args []string) error {
	target, opts := parseOptions(args)
	l, err := Acquire(context.Background(), target, opts...)
	if err != nil {
		return err
	}
	fmt.Println("held")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan() && lines.Text() == "check"; {
		switch err := l.Check(); {
		case err == nil:
			fmt.Println("ok")
		case errors.Is(err, ErrLost):
			fmt.Println("lost")
		default:
			return err
		}
	}
	return l.Release()
}

// acquireRole takes the lock once and says how that went, as JSON.
func acquireRole(args []string) error {
	target, opts := parseOptions(args)
	l, err := Acquire(context.Background(), target, opts...)
	var said outcome
	if err == nil {
		said.Inherited = l.Inherited()
		err = l.Release()
	}
	if err != nil {
		said.Error = err.Error()
		said.Timeout, said.Foreign = errors.Is(err, ErrTimeout), errors.Is(err, ErrForeign)
		said.Permission = errors.Is(err, os.ErrPermission)
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

type outcome struct {
	Error                                   string
	Timeout, Foreign, Permission, Inherited bool
}

// countRole adds one to the number in a file, N times, as a program does that trusts the lock.
func countRole(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	target, opts := parseOptions(args[1:])
	for done := 0; done < n; {
		err := addOne(target, nil, opts...)
		if errors.Is(err, ErrLost) {
			continue // this process did not run for the time of a lease; it has changed nothing
		}
		if err != nil {
			return err
		}
		fmt.Println("added")
		done++
	}
	return nil
}

// slowRole adds one, and waits between reading and publishing until it is told to go on.
func slowRole(args []string) error {
	target, opts := parseOptions(args)
	err := addOne(target, func() {
		fmt.Println("has read")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	}, opts...)
	if errors.Is(err, ErrLost) {
		fmt.Println("lost")
		return nil
	}
	if err == nil {
		fmt.Println("added")
	}
	return err
}

func addOne(target string, between func(), opts ...Option) error {
	l, err := Acquire(context.Background(), target, opts...)
	if err != nil {
		return err
	}
	defer l.Release()
	raw, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return fmt.Errorf("two at once: %q: %w", raw, err)
	}
	if between != nil {
		between()
	}
	next := fmt.Sprintf("%s.%d", target, os.Getpid())
	if err := os.WriteFile(next, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
		return err
	}
	if err := l.Check(); err != nil {
		return err
	}
	if err := os.Rename(next, target); err != nil {
		return err
	}
	return l.Release()
}

// turnsRole takes the lock as often as it can until its standard input ends, and says how often that was.
func turnsRole(args []string) error {
	target, opts := parseOptions(args)
	fmt.Println("ready")
	stop := make(chan struct{})
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		close(stop)
	}()
	turns := 0
	var longest time.Duration
	for {
		select {
		case <-stop:
			fmt.Println(turns, longest.Microseconds())
			return nil
		default:
		}
		start := time.Now()
		l, err := Acquire(context.Background(), target, opts...)
		if err != nil {
			return err
		}
		longest = max(longest, time.Since(start))
		time.Sleep(2 * time.Millisecond) // what is done under the lock
		if err := l.Release(); err != nil {
			return err
		}
		turns++
	}
}

func probeRole(args []string) error {
	found, err := Probe(args[0])
	if err != nil {
		return err
	}
	fmt.Println(found.Excludes)
	return nil
}

// process is another process of a test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start runs this test binary in a role; with tune it may still be changed.
func start(t *testing.T, role string, args []string, tune ...func(*exec.Cmd)) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(cmd.Environ(), "LOCK_ROLE="+role, "GORACE=atexit_sleep_ms=0")
	return startCommand(t, cmd, tune...)
}

func startCommand(t *testing.T, cmd *exec.Cmd, tune ...func(*exec.Cmd)) *process {
	t.Helper()
	for _, f := range tune {
		f(cmd)
	}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	require.NoError(t, cmd.Start())
	p := &process{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.in.Close()
		_ = p.cmd.Wait()
	})
	return p
}

// line is the next line that the process says.
func (p *process) line() string {
	p.t.Helper()
	text, err := p.out.ReadString('\n')
	require.NoError(p.t, err, "the process ended after %q", text)
	return strings.TrimSuffix(text, "\n")
}

func (p *process) expect(line string) *process {
	p.t.Helper()
	require.Equal(p.t, line, p.line())
	return p
}

func (p *process) say(line string) *process {
	p.t.Helper()
	_, err := fmt.Fprintln(p.in, line)
	require.NoError(p.t, err)
	return p
}

// end lets it go on to its end and waits for that.
func (p *process) end() {
	p.t.Helper()
	require.NoError(p.t, p.in.Close())
	rest, err := io.ReadAll(p.out)
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Wait(), "%s", rest)
}

// kill is kill -9.
func (p *process) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
}

// hold starts a process that holds the lock of target.
func hold(t *testing.T, target string, opts ...string) *process {
	t.Helper()
	return start(t, "hold", append([]string{target}, opts...)).expect("held")
}

// acquire asks another process to take the lock once.
func acquire(t *testing.T, target string, opts []string, tune ...func(*exec.Cmd)) outcome {
	t.Helper()
	p := start(t, "acquire", append([]string{target}, opts...), tune...)
	var said outcome
	text := p.line()
	require.NoError(t, json.Unmarshal([]byte(text), &said), text)
	p.end()
	return said
}

// target makes a file to lock.
func target(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// noted waits for the note of who holds the file, which comes when it has been held for a while.
func noted(t *testing.T, path string) {
	t.Helper()
	eventually(t, func() bool { return readRecord(path, noteName(nil)) != nil }, "the holder is noted")
}

// busy says that the lock is held: another goroutine of this process does not get it at once.
func busy(t *testing.T, target string, opts ...Option) bool {
	t.Helper()
	l, ok, err := Try(target, opts...)
	require.NoError(t, err)
	if ok {
		require.NoError(t, l.Release())
	}
	return !ok
}

// eventually waits for what other processes do; how long that takes is the machine's affair.
func eventually(t *testing.T, cond func() bool, what string) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, 5*time.Millisecond, what)
}
