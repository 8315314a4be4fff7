//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A signal that arrives for a program which is then not started is not lost: it is ours.
func TestSignalForAProgramThatWasNeverStarted(t *testing.T) {
	seen := make(chan os.Signal, 8)
	signal.Notify(seen, syscall.SIGUSR1)
	defer signal.Stop(seen)
	_, stop := forward(&child{}, func(os.Signal) { t.Error("there was no program") })
	require.NoError(t, unix.Kill(unix.Getpid(), syscall.SIGUSR1))
	<-seen
	stop()
	require.Equal(t, syscall.SIGUSR1, <-seen, "again, for us")
}
