package main

import (
	"os"
	"os/signal"
)

func isNoFormat(error) bool { return false }

func endingOf(state *os.ProcessState) ended { return ended{status: state.ExitCode()} }

// inherit does nothing: the copy of a killed exec counts as in use only while exec itself lives.
func inherit(f *os.File) (release func(), err error) { return func() {}, nil }

// forward keeps us alive through Ctrl-C, which the console sends to the program by itself.
func forward(c *child, late func(os.Signal)) (started func(pid int, signal func(os.Signal) error), stop func()) {
	arrived := make(chan os.Signal, 8)
	signal.Notify(arrived, os.Interrupt)
	return func(int, func(os.Signal) error) {}, func() { signal.Stop(arrived) }
}

func dieBySignal(number int) {}
