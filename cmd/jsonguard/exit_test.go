package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/lock"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

func TestExitStatus(t *testing.T) {
	in := func(err error) error { return &sidecar.Error{Op: "fold", Path: "a.json", Err: err} }
	for _, c := range []struct {
		name string
		err  error
		kind kind
		want int
	}{
		{"success", nil, writes, 0},
		{"usage", usage("", "x"), writes, 64},
		{"no such pointer, get", &problem{err: merge.ErrNotFound, status: statusMissing}, reads, 1},
		{"no such place to write", in(merge.ErrNotFound), writes, 65},
		{"syntax", in(&merge.SyntaxError{Line: 1, Column: 2, Msg: "x"}), writes, 65},
		{"wrong type", in(merge.ErrType), writes, 65},
		{"rejected", in(fmt.Errorf("%w: why", sidecar.ErrRejected)), writes, 65},
		{"torn", in(fmt.Errorf("%w: %w", sidecar.ErrTorn, &merge.SyntaxError{})), writes, 65},
		{"refused by policy", in(merge.ErrRefused), writes, 65},
		{"no such file", in(fs.ErrNotExist), reads, 66},
		{"no such directory", in(syscall.ENOENT), writes, 73},
		{"a directory, read", in(sidecar.ErrTarget), reads, 66},
		{"a directory, written", in(sidecar.ErrTarget), writes, 73},
		{"read-only filesystem", in(syscall.EROFS), writes, 73},
		{"I/O", in(syscall.EIO), writes, 74},
		{"disk full", in(syscall.ENOSPC), writes, 74},
		{"damaged", in(fmt.Errorf("%w: commit: %w", sidecar.ErrDamaged, fs.ErrNotExist)), writes, 74},
		{"not durable", in(fmt.Errorf("%w: %w", sidecar.ErrNotDurable, syscall.EIO)), writes, 74},
		{"unknown", errors.New("x"), writes, 74},
		{"lock", in(lock.ErrTimeout), writes, 75},
		{"lock lost", in(lock.ErrLost), writes, 75},
		{"pending", in(fmt.Errorf("%w: %w", sidecar.ErrPending, lock.ErrTimeout)), writes, 75},
		{"deadline", in(context.DeadlineExceeded), writes, 75},
		{"permission", in(fs.ErrPermission), writes, 77},
		{"permission, system", in(syscall.EACCES), reads, 77},
		{"a few at once", errors.Join(in(fs.ErrPermission), in(sidecar.ErrDamaged)), writes, 74},
		{"exec: anything before the program", in(fs.ErrPermission), wraps, 125},
		{"exec: usage", usage("", "x"), wraps, 125},
		{"exec: not executable", &problem{err: fs.ErrPermission, status: statusCannotRun}, wraps, 126},
		{"exec: not found", &problem{err: fs.ErrNotExist, status: statusNotFound}, wraps, 127},
	} {
		require.Equal(t, c.want, exitStatus(c.err, c.kind), c.name)
	}
}

func TestTheProgramsOwnFailureWins(t *testing.T) {
	for _, c := range []struct {
		end     ended
		failure error
		want    int
	}{
		{ended{}, nil, 0},
		{ended{status: 3}, nil, 3},
		{ended{status: 3}, sidecar.ErrTorn, 3},
		{ended{signal: 9}, sidecar.ErrTorn, 137},
		{ended{}, sidecar.ErrTorn, 65},
		{ended{}, sidecar.ErrRejected, 65},
		{ended{}, sidecar.ErrPending, 75},
		{ended{}, fs.ErrPermission, 74}, // exec has no 77 of its own
		{ended{}, syscall.EIO, 74},
	} {
		r := &copyRun{end: c.end, failure: c.failure}
		require.Equal(t, c.want, r.outcome().exitStatus(), "%+v", c)
	}
}

func TestWorse(t *testing.T) {
	require.Equal(t, 0, worse(0, 0))
	require.Equal(t, 65, worse(0, 65))
	require.Equal(t, 65, worse(75, 65))
	require.Equal(t, 74, worse(74, 65))
}

func TestComplaintHasTheHintOnALineOfItsOwn(t *testing.T) {
	err := &sidecar.Error{Op: "fold", Path: "a.json", Hint: "do that", Err: &merge.SyntaxError{Line: 3, Column: 7, Msg: "unexpected x"}}
	c := complaintOf(err)
	require.NotContains(t, c.text, "do that")
	require.Equal(t, "do that", c.hint)
	require.Contains(t, c.text, "a.json")
	require.Contains(t, c.text, "line 3")
	require.Equal(t, 7, c.column)
}
