package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// statusNoTool is EX_UNAVAILABLE of sysexits(3): a program that is needed is not there.
const statusNoTool = 69

// tool is an executable of its own, for what every start of this one would else pay for. It is found by its name.
type tool string

// find looks beside this program, in PATH, and where go install puts it.
func (t tool) find() (string, error) {
	name := string(t)
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	var dirs []string
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	if found, err := exec.LookPath(string(t)); err == nil {
		dirs = append(dirs, filepath.Dir(found))
	}
	dirs = append(dirs, os.Getenv("GOBIN"))
	for _, d := range filepath.SplitList(goPath()) {
		dirs = append(dirs, filepath.Join(d, "bin"))
	}
	for _, d := range dirs {
		if !filepath.IsAbs(d) {
			continue
		}
		path := filepath.Join(d, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0) {
			return path, nil
		}
	}
	return "", &problem{op: "run", path: string(t), err: errors.New("it is not beside jsonguard, not in PATH and not where go install puts it"),
		hint: "this has an executable of its own: go install ./cmd/" + string(t) + ", in the source of jsonguard", status: statusNoTool}
}

// goPath is where go install puts things, as package go/build has it, whose tables would be made each time this program starts.
func goPath() string {
	if path := os.Getenv("GOPATH"); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "go")
}

// problem is what the tool said when it failed.
func (t tool) problem(op, name string, ended error, said string) error {
	p := &problem{op: op, path: name, status: statusIO}
	var status *exec.ExitError
	if errors.As(ended, &status) && status.ExitCode() == statusData {
		p.status = statusData
	}
	if said = strings.TrimSpace(said); said != "" {
		line, _, _ := strings.Cut(said, "\n")
		p.err = errors.New(line)
	} else {
		p.err = fmt.Errorf("%s ended early: %w", t, ended)
	}
	return p
}
