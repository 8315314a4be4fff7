//go:build unix && !linux

package main

// followsStops: a ^Z stops us as it stops the program, each by itself.
const followsStops = false

func followStops(int) {}
