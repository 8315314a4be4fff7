//go:build linux && (amd64 || arm64)

package intercept

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const probePath = "/jsonguard/probe/of/interception" // nobody has it

// probe tries everything that Start relies on: on a thread of ours that carries the filter, whose call is hit by a
// signal and gets a descriptor, and on a child, whose memory is to be read.
func probe() (Findings, error) {
	var f Findings
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return f, os.NewSyscallError("uname", err)
	}
	f.Kernel = unix.ByteSliceToString(u.Release[:])
	launch := newLauncher()
	defer launch.close()
	l, err := launch.install(filter(), true)
	if err != nil {
		return f, err
	}
	// Closing it answers ENOSYS to whatever still waits.
	defer unix.Close(l.fd)
	f.SyncWakeup = l.syncWakeup()
	if err := f.probeThread(launch, l); err != nil {
		return f, err
	}
	if err := f.probeChild(launch, l); err != nil {
		return f, err
	}
	_, err = os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", unix.Gettid()))
	f.Children = err == nil
	return f, nil
}

// next waits for a call, for at most some seconds.
func (l listener) next() (n seccompNotif, err error) {
	const patience = 5000 // ms
	p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	err = retrying(func() error { _, err := unix.Poll(p, patience); return err })
	if err != nil || p[0].Revents&unix.POLLIN == 0 {
		return n, missing("notification of a call", err)
	}
	if e := l.receive(&n); e != 0 {
		return n, missing("notification of a call", e)
	}
	return n, nil
}

// probeThread: a received call is not interrupted, and gets the descriptor that it is given.
func (f *Findings) probeThread(launch *launcher, l listener) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	const content = "p"
	_, err = w.WriteString(content)
	w.Close()
	if err != nil {
		return err
	}
	var tid int
	launch.do(func() { tid = unix.Gettid() })
	got := make(chan string, 1)
	go launch.do(func() {
		buf := make([]byte, 1)
		fd, err := unix.Openat(unix.AT_FDCWD, probePath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_, _ = unix.Read(fd, buf)
			unix.Close(fd)
		}
		got <- string(buf)
	})
	call, err := l.next()
	if err != nil {
		return err
	}
	// The runtime handles SIGURG, and asks for restarts: a call that it interrupts is made again, as another one.
	_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
	const moment = 2 * time.Millisecond
	time.Sleep(moment)
	if f.Killable = l.valid(call.id); !f.Killable {
		return missing("protection of a received call from signals, whatever this kernel says (WAIT_KILLABLE_RECV)", nil)
	}
	fd, e := l.inject(call.id, int(r.Fd()), -1, true)
	if e != 0 {
		l.send(seccompResponse{id: call.id, error: -int32(e)})
		return missing("injection of descriptors (ADDFD)", e)
	}
	l.send(seccompResponse{id: call.id, value: int64(fd)})
	if text := <-got; text != content {
		return missing("injection of descriptors (ADDFD): another file arrived", nil)
	}
	f.Inject = true
	return nil
}

// probeChild: the memory of another process can be read, and its call answered.
func (f *Findings) probeChild(launch *launcher, l listener) (err error) {
	path, err := syscall.BytePtrFromString(probePath)
	if err != nil {
		return err
	}
	var pid int
	launch.do(func() { pid, err = fork(&forked{path: path, probe: true}) })
	runtime.KeepAlive(path)
	if err != nil {
		return os.NewSyscallError("fork", err)
	}
	defer reap(pid)
	call, err := l.next()
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		return err
	}
	m := &memory{}
	text, err := m.path(int(call.pid), call.data.args[1], make([]byte, pathMax))
	l.send(seccompResponse{id: call.id, error: -int32(unix.ENOENT)})
	if err != nil || string(text) != probePath {
		return missing("way to read the memory of another process", err)
	}
	f.ReadMemory = m.way
	return nil
}

func reap(pid int) {
	_ = retrying(func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
}
