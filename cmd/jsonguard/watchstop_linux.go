package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// notifyStops tells of a ^Z instead of stopping.
func notifyStops(stops chan<- os.Signal) { signal.Notify(stops, syscall.SIGTSTP) }

// stop gives the terminal back while this process is stopped.
func (v *screenView) stop() {
	v.leave()
	stopSelf()
	v.enter()
	if v.state != nil {
		v.draw(time.Now())
	}
}
