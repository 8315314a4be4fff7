//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const probePath = "/jsonguard/probe/of/interception" // nobody has it

// probe tries everything that a command will rely on: on the thread that carries the filter, whose call is hit by a
// signal and gets a descriptor, and on the guardian, whose memory is to be read as another process's.
func (s *supervisor) probe() error {
	f := &s.findings
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return os.NewSyscallError("uname", err)
	}
	f.Kernel = unix.ByteSliceToString(u.Release[:])
	f.SyncWakeup = s.listener.syncWakeup()
	if err := f.probeThread(s.launch, s.listener); err != nil {
		return err
	}
	if err := f.probeMemory(s.guardian); err != nil {
		return err
	}
	_, err := readProc(procPath(os.Getpid(), "task/"+strconv.Itoa(os.Getpid())+"/children"))
	f.Children = err == nil
	return nil
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
	const content = "p"
	pipe, err := pipeWith(content)
	if err != nil {
		return err
	}
	defer unix.Close(pipe)
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
	if f.Killable = l.withstands(call); !f.Killable {
		return missing("protection of a received call from signals, whatever this kernel says (WAIT_KILLABLE_RECV)", nil)
	}
	fd, e := l.inject(call.id, pipe, -1, true)
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

// pipeWith gives the end of a pipe that content can be read from.
func pipeWith(content string) (int, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(pipe[1])
	if _, err := unix.Write(pipe[1], []byte(content)); err != nil {
		unix.Close(pipe[0])
		return -1, os.NewSyscallError("write", err)
	}
	return pipe[0], nil
}

// withstands sends a signal to a thread of ours whose call was received, and says whether the call goes on. It does when the
// thread is seen asleep with the signal waiting; or, where procfs does not tell, when some time went by.
func (l listener) withstands(call seccompNotif) bool {
	const moment = 50 * time.Millisecond
	tid := int(call.pid)
	// The runtime handles SIGURG, and asks for restarts: a call that it interrupts is made again, as another one.
	_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
	for began := time.Now(); time.Since(began) < moment; {
		t, err := readTask(tid)
		if !l.valid(call.id) {
			return false
		}
		const urgent = 1 << (uint(unix.SIGURG) - 1)
		if err == nil && t.state == 'D' && t.pending&urgent != 0 {
			return true
		}
		runtime.Gosched()
	}
	return l.valid(call.id)
}

// probeMemory: the memory of another process can be read.
func (f *Findings) probeMemory(g *guardian) error {
	m := &memory{}
	text, err := m.path(g.pid, g.text, make([]byte, pathMax))
	if err != nil || string(text) != guardianName {
		return missing("way to read the memory of another process", err)
	}
	f.ReadMemory = m.way
	return nil
}

func reap(pid int) {
	_ = retrying(func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
}
