package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
)

// child is a program that exec or lock runs the way env(1) and nice(1) would: its argv exact, its streams the very
// same descriptors, in our process group.
type child struct {
	path string
	argv []string
	cmd  *exec.Cmd

	forking atomic.Bool // from now on it is there, and gets what is typed at the terminal by itself
}

// forkBeforeSignals has the runtime do now what it does once, before the first process is started: it forks one to try pidfd,
// which shares our memory and has no signal blocked (syscall.os_checkClonePidfd). A signal to the group that comes in that moment is
// handled by both: it arrives twice, or ends both with "fatal: morestack on gsignal".
func forkBeforeSignals() { _, _ = os.FindProcess(os.Getpid()) }

// startsPrograms marks a verb that starts programs, apart from exec and lock.
func startsPrograms(cmd *cobra.Command) *cobra.Command {
	cmd.PreRun = func(*cobra.Command, []string) { forkBeforeSignals() }
	return cmd
}

// findProgram looks a program up before anything is made for it. Its errors carry 126 and 127.
func findProgram(argv []string) (*child, error) {
	path, err := exec.LookPath(argv[0])
	switch {
	case argv[0] == "":
		return nil, &problem{op: "run", path: `""`, err: errors.New("no such program"), status: statusNotFound, hint: "is a variable of the script unset?"}
	case errors.Is(err, exec.ErrDot): // PATH says so; that is between it and its owner
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return nil, &problem{op: "run", path: argv[0], err: errors.New("no such program"), status: statusNotFound,
			hint: "it is looked for in PATH; a program in this directory is ./" + filepath.Base(argv[0])}
	case err != nil:
		return nil, &problem{op: "run", path: argv[0], err: cause(err), status: statusCannotRun, hint: "is it a program, and executable (chmod +x)?"}
	}
	return &child{path: path, argv: argv}, nil
}

func cause(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// start runs the program. env is added to ours.
func (c *child) start(a *app, env ...string) error {
	c.cmd = c.command(a, c.path, c.argv, env)
	c.forking.Store(true)
	err := c.cmd.Start()
	if isNoFormat(err) {
		// A script without #!: execvp(3), and so env and nice, hand it to the shell.
		c.cmd = c.command(a, "/bin/sh", append([]string{"/bin/sh", c.path}, c.argv[1:]...), env)
		err = c.cmd.Start()
	}
	return c.failed(err)
}

// failed says why the program could not be started.
func (c *child) failed(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist): // 127 as env(1) has it, although the program itself was found
		return &problem{op: "run", path: c.argv[0], err: bare(cause(err)), status: statusNotFound, hint: "is the interpreter that its first line names there?"}
	case err != nil:
		return &problem{op: "run", path: c.argv[0], err: bare(cause(err)), status: statusCannotRun}
	}
	return nil
}

func (c *child) command(a *app, path string, argv, env []string) *exec.Cmd {
	cmd := &exec.Cmd{Path: path, Args: argv, Stdin: a.stdin, Stdout: a.stdout.w, Stderr: a.stderr}
	if len(env) > 0 {
		cmd.Env = append(os.Environ(), env...)
	}
	return cmd
}

// wait returns how the program ended.
func (c *child) wait() (ended, error) {
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return ended{}, &problem{op: "wait for", path: c.argv[0], err: err, status: statusIO}
	}
	return endingOf(c.cmd.ProcessState), nil
}

// braces is an argument that stands for the file: {} alone, or as the value of an option (--db={}). Any other {} is the
// program's own text, as in python3 -c 'd={}'.
var braces = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(--?[A-Za-z0-9][A-Za-z0-9._-]*=)?\{\}$`) })

// bracesOf are programs to which {} means something else, behind one of these arguments of theirs, if any: env find . -exec … {}
func bracesOf(program string) (behind []string, known bool) {
	switch program {
	case "find":
		return []string{"-exec", "-execdir", "-ok", "-okdir"}, true
	case "fd", "fdfind":
		return []string{"-x", "-X", "--exec", "--exec-batch"}, true
	case "xargs", "parallel":
		return nil, true
	}
	return nil, false
}

// fill puts a path where the arguments of a program have braces.
func fill(argv []string, path string) []string {
	out := slices.Clone(argv)
	for i, arg := range argv {
		if i > 0 && braces().MatchString(arg) && !theirs(argv[:i]) {
			out[i] = strings.TrimSuffix(arg, "{}") + path
		}
	}
	return out
}

// theirs says whether {} behind these arguments means something to one of the programs in them: what wraps it (env, nice, timeout)
// may come first.
func theirs(before []string) bool {
	for i, program := range before {
		behind, known := bracesOf(filepath.Base(program))
		if known && (behind == nil || slices.ContainsFunc(before[i+1:], func(arg string) bool { return slices.Contains(behind, arg) })) {
			return true
		}
	}
	return false
}

// filled says whether there is a place for a path in the arguments.
func filled(argv []string) bool { return !slices.Equal(fill(argv, ""), argv) }
