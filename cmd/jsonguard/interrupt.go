package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupts end a verb.
var interrupts = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// interruptible gives a context that ends with the first INT, TERM or HUP: a verb then stops waiting, says what became
// of its change, and the process dies of that signal, so that a shell's loop ends too. What is being written is
// finished. A second signal ends the process at once, which is as safe as kill -9 is.
func (a *app) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	var signals []os.Signal
	for _, s := range interrupts {
		if !signal.Ignored(s) { // nohup, & in a script
			signals = append(signals, s)
		}
	}
	if len(signals) == 0 {
		return context.WithCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, signals...)
	go func() {
		select {
		case s := <-arrived:
			signal.Stop(arrived)
			if number, ok := s.(syscall.Signal); ok {
				a.interrupted.Store(int32(number))
			}
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(arrived)
		cancel()
	}
}
