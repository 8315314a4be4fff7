package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"jsonguard/sidecar"
)

// execReport is what --report writes. JSON.md documents it; members are added, never taken away.
type execReport struct {
	File       string             `json:"file"`
	Mode       string             `json:"mode"`
	Command    []string           `json:"command"`
	Copy       string             `json:"copy"`
	Began      time.Time          `json:"began"`
	Seconds    float64            `json:"seconds"`
	ChildExit  int                `json:"child_exit"`   // 0 if it died by a signal
	ChildDied  int                `json:"child_signal"` // 0 if it exited
	Exit       int                `json:"exit"`         // of jsonguard
	Writes     int                `json:"writes"`
	Pending    bool               `json:"pending"` // safe, but not yet in the file
	Direct     bool               `json:"direct"`  // the program wrote the file itself, not the copy
	Error      string             `json:"error,omitempty"`
	Hint       string             `json:"hint,omitempty"`
	Conflicts  []sidecar.Conflict `json:"conflicts"`
	Generation uint64             `json:"generation"`
	Files      []execFile         `json:"files,omitempty"` // mode intercept: what was guarded
}

// execFile is one file in a report of mode intercept.
type execFile struct {
	Path      string   `json:"path"`
	Writes    int      `json:"writes"`
	Conflicts int      `json:"conflicts"`
	Torn      []string `json:"torn"` // incomplete versions, names in quarantine
}

// reportFile is where --report goes. It is opened before the program runs, so that a wrong path costs no run, and
// emptied only when there is something to write.
type reportFile struct {
	file *os.File // nil: none was asked for
	made bool     // by us
}

func openReport(o execOptions) (*reportFile, error) {
	if o.report == "" {
		return &reportFile{}, nil
	}
	fail := func(err error) (*reportFile, error) {
		return nil, &problem{op: "exec: report", path: o.report, err: bare(err), hint: "the report goes to a file of its own that can be written"}
	}
	for _, shared := range o.files {
		if sameFile(o.report, shared) || sameFile(o.report, shared+".lock") {
			return fail(errors.New("it is the shared file, or its lock"))
		}
	}
	_, err := os.Lstat(o.report)
	made := os.IsNotExist(err)
	file, err := os.OpenFile(o.report, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fail(err)
	}
	return &reportFile{file, made}, nil
}

// sameFile also knows files that are not there yet.
func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	return os.IsNotExist(errX) && os.IsNotExist(errY) && resolved(a) == resolved(b)
}

// resolved is a path without symbolic links in its directory.
func resolved(path string) string {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}

// close writes the report of a program that ran; nil is of one that did not.
func (f *reportFile) close(report *execReport) error {
	switch {
	case f.file == nil:
		return nil
	case report == nil:
		if f.made {
			_ = os.Remove(f.file.Name())
		}
		return f.file.Close()
	}
	if info, err := f.file.Stat(); err == nil && info.Mode().IsRegular() {
		if err := f.file.Truncate(0); err != nil {
			return f.failed(err)
		}
	}
	err := report.write(f.file)
	return f.failed(errors.Join(err, f.file.Close()))
}

func (f *reportFile) failed(err error) error {
	if err == nil {
		return nil
	}
	return &problem{op: "exec: report", path: f.file.Name(), err: bare(err), status: statusIO}
}

func (r *copyRun) report(outcome error) *execReport {
	if !r.started {
		return nil
	}
	report := &execReport{
		File: r.g.Target(), Mode: "copy", Command: r.program.argv, Copy: r.view.Path(), Began: r.began.UTC(),
		Seconds: time.Since(r.began).Seconds(), ChildExit: r.end.status, ChildDied: r.end.signal, Exit: statusOfEnd(outcome),
		Writes: r.writes, Direct: r.direct, Conflicts: notNil(r.conflicts), Generation: r.generation,
	}
	if r.failure != nil {
		c := complaintOf(r.failure)
		report.Error, report.Hint = c.text, c.hint
		report.Pending = dataStatus(r.failure, writes) == statusTemporary
	}
	return report
}

func (r *execReport) write(to *os.File) error {
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
