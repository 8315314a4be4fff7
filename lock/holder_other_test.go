//go:build unix && !linux

package lock

import "runtime"

const goos = runtime.GOOS
