package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/internal/intercept"
	"jsonguard/internal/probe"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := a.verb(groupProve, "doctor [DIR]", "Find out which promises a filesystem keeps",
		`Try in DIR (the working directory) what jsonguard stands on: that a lock excludes another process, that a rename replaces
a file at once, that files and directory can be synced, links, attributes, room; and look at the kind of filesystem, single
files that are mounted there, and lock directories of other tools; and whether this kernel lets exec intercept what programs
do. What it made it removes.
Exit status 74: something that is required does not hold. "weak" is no failure: the last column says what it means.`,
		`  jsonguard doctor
  jsonguard doctor /mnt/share --json`,
		between(0, 1), func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.doctor(cmd.Context(), dir)
		})
	return reads.mark(cmd)
}

func (a *app) doctor(ctx context.Context, dir string) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir) // of a file, what counts is where it is
	}
	self, err := os.Executable()
	if err != nil {
		return &problem{op: "doctor", err: err, status: statusIO}
	}
	findings, err := probe.Dir(dir, func(try, path string) (bool, error) {
		err := exec.CommandContext(ctx, self, "lock-probe", try, path).Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == lockProbeBusy {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return &problem{op: "doctor", path: dir, err: bare(err)}
	}
	findings = append(findings, lockDirectories(dir))
	seen, cannot := intercept.Probe()
	findings = append(findings, interception(seen, cannot, findings))
	var missing []string
	for _, f := range findings {
		if f.Required && f.State == probe.No {
			missing = append(missing, f.Name)
		}
	}
	if a.json {
		var o object
		o.add("directory", dir)
		o.add("ok", len(missing) == 0)
		o.add("findings", findings)
		o.add("interception", interceptionOf(seen, cannot))
		a.println(o.String())
	} else {
		a.printFindings(findings)
	}
	if len(missing) > 0 {
		return &problem{op: "doctor", path: dir, err: fmt.Errorf("does not keep what jsonguard needs: %s", strings.Join(missing, ", ")),
			hint: "keep the file on another filesystem", status: statusIO}
	}
	return nil
}

func (a *app) printFindings(findings []probe.Finding) {
	colours := map[probe.State]string{probe.OK: "green", probe.Weak: "yellow", probe.No: "red", probe.Info: "dim"}
	for _, f := range findings {
		if a.quiet && f.State != probe.No {
			continue
		}
		a.printf("%s %-24s %s\n", paint(a.stdout, colours[f.State], fmt.Sprintf("%-5s", f.State)), f.Name, f.Detail)
		if f.Means != "-" {
			a.printf("%-30s → %s\n", "", f.Means)
		}
	}
}

// interception says what exec can do here: by the probe of the kernel, and by what was found of the filesystem.
func interception(seen intercept.Findings, cannot error, fs []probe.Finding) probe.Finding {
	const instead = "exec gives the program a private copy: its path has to come through {} or $JSONGUARD_FILE"
	found := probe.Finding{Name: "interception", State: probe.OK, Means: "-"}
	switch {
	case errors.Is(cannot, intercept.ErrNested):
		found.State, found.Detail, found.Means = probe.Info, cannot.Error(), "inside jsonguard exec the outer one guards for both"
		return found
	case cannot != nil:
		found.State, found.Detail, found.Means = probe.Weak, cannot.Error(), instead
		return found
	}
	found.Detail = fmt.Sprintf("Linux %s: calls are held and not interrupted, descriptors are put in, memory is read by %s", seen.Kernel, seen.ReadMemory)
	var slower []string
	if !seen.SyncWakeup {
		slower = append(slower, "each open takes longer (no synchronous wake-up, Linux 6.6)")
	}
	if !seen.Children {
		slower = append(slower, "the parents of some processes stay unknown (no list of children in procfs)")
	}
	if len(slower) > 0 {
		found.State, found.Means = probe.Weak, strings.Join(slower, "; ")
	}
	for _, f := range fs {
		if f.Name == probe.LockBetweenProcesses && f.State != probe.OK {
			found.State, found.Means = probe.Weak, "not for files in this directory, where flock does not tell when a program is done: "+instead
		}
	}
	return found
}

// probed is interception as --json has it.
type probed struct {
	Possible   bool   `json:"possible"`
	Reason     string `json:"reason,omitempty"` // why not
	Kernel     string `json:"kernel,omitempty"`
	Killable   bool   `json:"killable"`
	Inject     bool   `json:"inject"`
	ReadMemory string `json:"read_memory,omitempty"`
	SyncWakeup bool   `json:"sync_wakeup"`
	Children   bool   `json:"children"`
}

func interceptionOf(seen intercept.Findings, cannot error) probed {
	p := probed{cannot == nil, "", seen.Kernel, seen.Killable, seen.Inject, seen.ReadMemory, seen.SyncWakeup, seen.Children}
	if cannot != nil {
		p.Reason = cannot.Error()
	}
	return p
}

// lockDirectories looks for what Node's proper-lockfile makes: a directory by the name of the lock file.
func lockDirectories(dir string) probe.Finding {
	found := probe.Finding{Name: "other lock styles", State: probe.OK, Detail: "no directory takes a lock file's place", Means: "-"}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return probe.Finding{Name: found.Name, State: probe.Info, Detail: err.Error(), Means: "-"}
	}
	var names []string
	for _, e := range entries {
		if e.Type()&fs.ModeDir != 0 && strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	if len(names) > 0 {
		found.State, found.Detail = probe.Weak, "directories: "+strings.Join(names, ", ")
		found.Means = "as proper-lockfile makes them: jsonguard waits while one is there; if its owner is dead, remove it by hand"
	}
	return found
}

// lockProbeBusy says that somebody holds the lock.
const lockProbeBusy = 9

// lockProbeCommand is the other process of doctor.
func (a *app) lockProbeCommand() *cobra.Command {
	cmd := a.verb("", "lock-probe TRY FILE", "Say whether a lock is to be had", "What doctor runs.", "", between(2, 2),
		func(cmd *cobra.Command, args []string) error {
			try := probe.Tries[args[0]]
			if try == nil {
				return usage("usage: "+cmd.UseLine(), "lock-probe: no such try: %s", args[0])
			}
			got, err := try(args[1])
			if err == nil && !got {
				return ended{status: lockProbeBusy}
			}
			return err
		})
	cmd.Hidden = true
	return reads.mark(cmd)
}
