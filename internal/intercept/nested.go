//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kernel gives a process one listener only: a supervisor inside a tree cannot have its own, and asks the one
// outside instead, over a socket whose name is the mark in its environment (abstract: nothing to remove when we are
// killed). Who knows the mark may ask.
type outer struct {
	s      *supervisor
	socket *net.UnixListener
}

// maxRequest bounds what a stranger can make us hold.
const maxRequest = 1 << 20

func socketName(mark string) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: "@jsonguard-" + mark}
}

func listen(s *supervisor) (*outer, error) {
	socket, err := net.ListenUnix("unix", socketName(s.mark))
	if err != nil {
		return nil, fmt.Errorf("listen for nested supervisors: %w", err)
	}
	o := &outer{s: s, socket: socket}
	go o.accept()
	return o, nil
}

func (o *outer) close() { o.socket.Close() }

func (o *outer) accept() {
	for {
		c, err := o.socket.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			o.serve(c)
		}()
	}
}

func (o *outer) serve(c *net.UnixConn) {
	pid, err := peer(c)
	if err != nil {
		return
	}
	request, err := io.ReadAll(io.LimitReader(c, maxRequest))
	if err != nil {
		return
	}
	t, err := readTask(pid)
	if err != nil {
		return
	}
	answer, err := o.s.handler.Asked(o.s.processes.find(t), request)
	_, _ = c.Write(reply(answer, err))
}

// peer is the process at the other end, as our pid namespace numbers it.
func peer(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var who *unix.Ucred
	var failure error
	if err := raw.Control(func(fd uintptr) {
		who, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failure != nil {
		return 0, failure
	}
	return int(who.Pid), nil
}

// A reply is a byte that says whether it is an answer or the text of an error, its length, and it.
func reply(answer []byte, err error) []byte {
	kind := byte(0)
	if err != nil {
		kind, answer = 1, []byte(err.Error())
	}
	out := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(answer)))
	return append(out, answer...)
}

func ask(ctx context.Context, request []byte) ([]byte, error) {
	mark := os.Getenv(markName)
	if mark == "" {
		return nil, fmt.Errorf("%w: %w, and it is none of ours (%s is not in the environment)", ErrUnsupported, ErrNested, markName)
	}
	if len(request) >= maxRequest {
		return nil, errors.New("intercept: ask the outer supervisor: the request is too long")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketName(mark).Name)
	if err != nil {
		return nil, fmt.Errorf("intercept: ask the outer supervisor: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c := conn.(*net.UnixConn)
	answer, err := exchange(c, request)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return answer, err
}

func exchange(c *net.UnixConn, request []byte) ([]byte, error) {
	if _, err := c.Write(request); err != nil && !errors.Is(err, syscall.EPIPE) {
		return nil, fmt.Errorf("intercept: ask the outer supervisor: %w", err)
	}
	if err := c.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		return nil, fmt.Errorf("intercept: ask the outer supervisor: %w", err)
	}
	raw, err := io.ReadAll(c)
	if err != nil {
		return nil, fmt.Errorf("intercept: the outer supervisor's answer: %w", err)
	}
	const header = 5
	if len(raw) < header || int(binary.BigEndian.Uint32(raw[1:])) != len(raw)-header {
		return nil, errors.New("intercept: the outer supervisor ended while it was asked")
	}
	if raw[0] != 0 {
		return nil, fmt.Errorf("intercept: the outer supervisor: %s", bytes.TrimSpace(raw[header:]))
	}
	return raw[header:], nil
}
