package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"

	"jsonguard/lock"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// Exit statuses, those of sysexits(3) where it has one.
const (
	statusMissing    = 1 // get: no such pointer
	statusDifferent  = 1 // diff
	statusUsage      = 64
	statusData       = 65
	statusNoFile     = 66
	statusCreate     = 73
	statusIO         = 74
	statusTemporary  = 75
	statusPermission = 77

	// exec, as env(1), nice(1) and timeout(1) have them.
	statusBefore    = 125
	statusCannotRun = 126
	statusNotFound  = 127
)

// kind is what a verb does to FILE: it decides what a file that is not there, or is no file, means.
type kind int

const (
	reads kind = iota
	writes
	wraps // exec
)

const kindAnnotation = "kind"

func (k kind) mark(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{kindAnnotation: fmt.Sprint(int(k))}
	return cmd
}

func kindOf(cmd *cobra.Command) kind {
	if cmd != nil {
		switch cmd.Annotations[kindAnnotation] {
		case fmt.Sprint(int(writes)):
			return writes
		case fmt.Sprint(int(wraps)):
			return wraps
		}
	}
	return reads
}

// problem is an error that this package found itself.
type problem struct {
	op, path string // may be empty
	err      error
	hint     string
	status   int // 0: by err
}

func (p *problem) Error() string {
	text := p.err.Error()
	if p.path != "" {
		text = p.path + ": " + text
	}
	if p.op != "" {
		text = p.op + " " + text
	}
	return text
}

func (p *problem) Unwrap() error { return p.err }

func usage(hint, format string, args ...any) error {
	return &problem{err: fmt.Errorf(format, args...), hint: hint, status: statusUsage}
}

// ended is how a program that was run ended, as an error so that it reaches run: its status is ours.
type ended struct {
	status int
	signal int // 0: it exited
}

func (e ended) Error() string { return fmt.Sprintf("exit status %d", e.exitStatus()) }

func (e ended) exitStatus() int {
	if e.signal != 0 {
		return 128 + e.signal
	}
	return e.status
}

// exitStatus is the one place where an error becomes a status.
func exitStatus(err error, k kind) int {
	if err == nil {
		return 0
	}
	if k == wraps { // before the program ran; what happens after it comes as ended
		var p *problem
		if errors.As(err, &p) && (p.status == statusCannotRun || p.status == statusNotFound) {
			return p.status
		}
		return statusBefore
	}
	return dataStatus(err, k)
}

// dataStatus is exitStatus without the manners of a wrapper.
func dataStatus(err error, k kind) int {
	var p *problem
	if errors.As(err, &p) && p.status != 0 {
		return p.status
	}
	noFile := statusNoFile
	if k != reads {
		noFile = statusCreate // its directory is missing: a file that is missing is made
	}
	var syntax *merge.SyntaxError
	var foreign notParquet
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	// The order matters: an error may be several of these, and the one that a script must not overlook comes first.
	switch {
	case is(sidecar.ErrPolicy):
		return statusUsage
	case is(sidecar.ErrNotDurable, sidecar.ErrDamaged):
		return statusIO
	case errors.As(err, &syntax), errors.As(err, &foreign), is(sidecar.ErrTorn, sidecar.ErrRejected, sidecar.ErrNoVersion, merge.ErrRefused, merge.ErrType, merge.ErrNotFound):
		return statusData
	case is(sidecar.ErrPending, lock.ErrTimeout, lock.ErrLost, context.DeadlineExceeded, context.Canceled):
		return statusTemporary
	case is(fs.ErrPermission):
		return statusPermission
	case is(sidecar.ErrTarget, fs.ErrNotExist, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG):
		return noFile
	case is(syscall.EROFS, fs.ErrExist):
		return statusCreate
	}
	return statusIO
}

// worse compares statuses where one run has many outcomes (batch).
func worse(a, b int) int {
	for _, s := range []int{statusIO, statusCreate, statusPermission, statusNoFile, statusData, statusUsage, statusTemporary, statusMissing} {
		if a == s || b == s {
			return s
		}
	}
	return 0
}

// bare takes operation and path off an error of package os: the message has its own.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
