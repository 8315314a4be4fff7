package main

import (
	"encoding/json"
	"os"
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
}

func (r *copyRun) writeReport(to *os.File, outcome error) error {
	report := execReport{
		File: r.g.Target(), Mode: "copy", Command: r.program.argv, Copy: r.view.Path(), Began: r.began.UTC(),
		Seconds: time.Since(r.began).Seconds(), ChildExit: r.end.status, ChildDied: r.end.signal, Exit: statusOfEnd(outcome),
		Writes: r.writes, Direct: r.direct, Conflicts: notNil(r.conflicts), Generation: r.generation,
	}
	if r.failure != nil {
		c := complaintOf(r.failure)
		report.Error, report.Hint = c.text, c.hint
		report.Pending = dataStatus(r.failure, writes) == statusTemporary
	}
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
