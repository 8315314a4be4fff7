//go:build race

package sidecar

// slower is how many times fewer states the defaults of the campaigns name under the race detector.
const slower = 20
