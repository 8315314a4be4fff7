//go:build !race

package sidecar

const slower = 1
