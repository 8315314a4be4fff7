package sigorigin

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSentByAProcess(t *testing.T) {
	arrived := make(chan os.Signal, 16)
	signal.Notify(arrived, syscall.SIGUSR1)
	defer signal.Stop(arrived)
	_, known := FromTerminal(syscall.SIGUSR1)
	require.False(t, known)
	require.NoError(t, Watch(syscall.SIGUSR1))
	require.NoError(t, Watch(syscall.SIGUSR1), "again must not make a loop")
	for range 100 {
		require.NoError(t, unix.Kill(os.Getpid(), syscall.SIGUSR1))
		<-arrived
		typed, known := FromTerminal(syscall.SIGUSR1)
		require.True(t, known)
		require.False(t, typed)
	}
}

// SIGALRM of a timer is the kernel's, as what is typed is; under load, so that a handler that spoils a register shows.
func TestSentByTheKernel(t *testing.T) {
	arrived := make(chan os.Signal, 16)
	signal.Notify(arrived, syscall.SIGALRM)
	defer signal.Stop(arrived)
	require.NoError(t, Watch(syscall.SIGALRM))
	_, err := unix.Setitimer(unix.ItimerReal, unix.MakeItimerval(time.Millisecond, time.Millisecond))
	require.NoError(t, err)
	var work sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		work.Go(func() {
			for sum := 0; ; sum++ {
				select {
				case <-stop:
					return
				default:
					_ = make([]byte, sum%4096)
				}
			}
		})
	}
	for range 200 {
		<-arrived
		typed, known := FromTerminal(syscall.SIGALRM)
		require.True(t, known)
		require.True(t, typed)
	}
	close(stop)
	work.Wait()
	_, err = unix.Setitimer(unix.ItimerReal, unix.Itimerval{})
	require.NoError(t, err)
}
