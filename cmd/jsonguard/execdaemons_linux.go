package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"jsonguard/internal/intercept"
)

// leftBehind are processes that outlive the program: a server that it started, a job in the background. Their calls are
// answered here and would fail without us, so that we stay until they end.
type leftBehind struct {
	a     *app
	super *intercept.Supervisor
	asked chan struct{} // somebody wants an end of it
}

func newLeftBehind(a *app, super *intercept.Supervisor) *leftBehind {
	return &leftBehind{a: a, super: super, asked: make(chan struct{}, 1)}
}

// signalled takes a signal that came after the program's end, and says whether it was for them.
func (l *leftBehind) signalled(s os.Signal) bool {
	select {
	case <-l.super.Done():
		return false
	default:
	}
	switch s {
	case syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT:
		select {
		case l.asked <- struct{}{}:
		default:
		}
	}
	return true // HUP and the like are theirs to ignore, as they are without us
}

// wait returns when none is left.
func (l *leftBehind) wait(program string) {
	const grace = 500 * time.Millisecond // what is on its way out need not be mentioned
	select {
	case <-l.super.Done():
		return
	case <-l.asked:
		l.asked <- struct{}{} // told below
	case <-time.After(grace):
	}
	l.a.warn(fmt.Sprintf("%s has ended and left %s behind; staying with them, because nothing guards them otherwise (^C or TERM ends them)",
		program, l.names()))
	select {
	case <-l.super.Done():
		return
	case <-l.asked:
	}
	if err := l.super.Signal(syscall.SIGTERM); err != nil {
		l.a.say("exec: %v", err)
	}
	select {
	case <-l.super.Done():
		return
	case <-time.After(grace):
		l.a.warn("asked them to end; once more kills them")
	}
	for {
		select {
		case <-l.super.Done():
			return
		case <-l.asked:
			if err := l.super.Kill(); err != nil {
				l.a.say("exec: %v", err)
			}
		}
	}
}

// names lists some of them.
func (l *leftBehind) names() string {
	const some = 3
	all := l.super.Processes()
	if len(all) == 0 {
		return "processes"
	}
	var names []string
	for _, p := range all[:min(some, len(all))] {
		names = append(names, fmt.Sprintf("%s (%d)", p.Command, p.PID))
	}
	if more := len(all) - some; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
