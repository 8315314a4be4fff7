//go:build linux

package concurrency

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Programs that lock, read, write, unlock: they are right by themselves, and stay so.
var locking = []kind{
	{name: "flock", locks: true, formats: "json lines", run: onItself(flock, unix.LOCK_UN)},
	{name: "flock-until-closed", locks: true, formats: "json lines", run: onItself(flock, 0)},
	{name: "fcntl", locks: true, formats: "json lines", run: onItself(fcntl, unix.F_UNLCK)},
	{name: "fcntl-until-closed", locks: true, formats: "json lines", run: onItself(fcntl, 0)},
	{name: "lock-file", locks: true, formats: "json lines", run: onFile(".mine")},
	{name: "filelock", locks: true, formats: "json lines", run: onFile(".lock")},
}

// flock takes the lock of an open file description; with unlock it gives it back.
func flock(f *os.File, unlock int) error {
	how := unix.LOCK_EX
	if unlock != 0 {
		how = unlock
	}
	return again(func() error { return unix.Flock(int(f.Fd()), how) })
}

// fcntl is flock with the lock of the process.
func fcntl(f *os.File, unlock int) error {
	how := unix.F_WRLCK
	if unlock != 0 {
		how = unlock
	}
	lock := unix.Flock_t{Type: int16(how), Whence: io.SeekStart}
	return again(func() error { return unix.FcntlFlock(f.Fd(), unix.F_SETLKW, &lock) })
}

func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// onItself locks the file that it writes. unlock: how it gives the lock back, before it closes; 0 leaves that to the close.
func onItself(lock func(*os.File, int) error, unlock int) func(*program) error {
	return func(p *program) error {
		return p.each(func(id string) error {
			f, err := os.OpenFile(p.file, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			if err = lock(f, 0); err == nil {
				err = p.rewrite(f, id)
			}
			p.rest()
			if err == nil && unlock != 0 {
				if err = lock(f, unlock); err == nil {
					acknowledge(id)
					p.rest()
				}
			}
			return errors.Join(err, f.Close())
		})
	}
}

// onFile locks a file beside the one it writes.
func onFile(suffix string) func(*program) error {
	return func(p *program) error {
		l, err := os.OpenFile(p.file+suffix, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer l.Close()
		return p.each(func(id string) error {
			if err := flock(l, 0); err != nil {
				return err
			}
			text, err := p.version(id)
			if err == nil {
				err = os.WriteFile(p.file, text, 0o600)
			}
			if err == nil {
				wrote(id)
				p.rest()
			}
			return errors.Join(err, flock(l, unix.LOCK_UN))
		})
	}
}
