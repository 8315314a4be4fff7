//go:build !linux

package main

import "os"

// Elsewhere a ^Z stops as it does any program, and the screen stays as it is.
func notifyStops(chan<- os.Signal) {}
func (v *screenView) stop()        {}
