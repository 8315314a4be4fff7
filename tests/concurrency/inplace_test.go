//go:build linux

package concurrency

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Programs that read all, and write all of it over what is there, through a descriptor that they open for it.
var inPlace = []kind{
	{name: "truncate", formats: "json lines", run: truncating(func(p *program, f *os.File, text []byte) error {
		_, err := f.Write(text)
		return err
	})},
	{name: "halves", formats: "json lines", run: truncating(func(p *program, f *os.File, text []byte) error {
		half := p.half(text)
		if _, err := f.Write(text[:half]); err != nil {
			return err
		}
		p.rest()
		_, err := f.Write(text[half:])
		return err
	})},
	{name: "pwrite", formats: "json lines", run: truncating(func(p *program, f *os.File, text []byte) error {
		_, err := f.WriteAt(text[len(text)/2:], int64(len(text)/2))
		p.rest()
		if err == nil {
			_, err = f.WriteAt(text[:len(text)/2], 0)
		}
		return err
	})},
	{name: "dup2", formats: "json lines", run: truncating(func(p *program, f *os.File, text []byte) error {
		const other = 100
		if err := unix.Dup3(int(f.Fd()), other, unix.O_CLOEXEC); err != nil {
			return err
		}
		d := os.NewFile(other, f.Name())
		_, err := d.Write(text)
		return errors.Join(err, d.Close())
	})},
	{name: "inherited", formats: "json lines", run: func(p *program) error { return p.each(p.bequeath(os.O_WRONLY | os.O_TRUNC)) }},
	{name: "r+", formats: "json lines", run: func(p *program) error { return p.each(p.overwrite) }},
	{name: "mmap", formats: "json lines", run: func(p *program) error { return p.each(p.throughMemory) }},
	{name: "memory", formats: "json lines", run: fromMemory(func(p *program, text []byte) error { return os.WriteFile(p.file, text, 0o600) })},
	{name: "threads", formats: "json lines", run: threads},
}

// truncating opens the file for each version, which empties it.
func truncating(write func(*program, *os.File, []byte) error) func(*program) error {
	return func(p *program) error {
		return p.each(func(id string) error {
			text, err := p.version(id)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(p.file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			if err = write(p, f, text); err == nil {
				wrote(id)
				p.rest()
			}
			return errors.Join(err, f.Close())
		})
	}
}

// half is where a version is cut that is written in two halves: of lines, each second time, behind a whole one, so that the first
// half is a version, too.
func (p *program) half(text []byte) int {
	half := len(text) / 2
	if isLines(p.file) && p.next%2 == 1 {
		half = bytes.LastIndexByte(text[:half], '\n') + 1
	}
	return half
}

// overwrite reads and writes through one descriptor.
func (p *program) overwrite(id string) error {
	f, err := os.OpenFile(p.file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = p.rewrite(f, id); err == nil {
		p.rest()
	}
	return errors.Join(err, f.Close())
}

// rewrite is seek, read, seek, write, truncate.
func (p *program) rewrite(f *os.File, id string) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	text, err := p.with(raw, id)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(text, 0); err == nil {
		err = f.Truncate(int64(len(text)))
	}
	if err == nil {
		wrote(id)
	}
	return err
}

// throughMemory writes a mapping of the file, which outlives the descriptor.
func (p *program) throughMemory(id string) error {
	text, err := p.version(id)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p.file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(int64(len(text))); err != nil {
		return errors.Join(err, f.Close())
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, len(text), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	copy(memory, text)
	wrote(id)
	p.rest()
	return unix.Munmap(memory)
}

// fromMemory reads the file once, and never looks at it again.
func fromMemory(write func(p *program, text []byte) error) func(*program) error {
	return func(p *program) error {
		text, err := p.read()
		if err != nil {
			return err
		}
		return p.each(func(id string) error {
			if text, err = p.with(text, id); err != nil {
				return err
			}
			return write(p, text)
		})
	}
}

// threads: two of them write, each what it read itself.
func threads(p *program) error {
	const n = 2
	done := make(chan error, n)
	for thread := range n {
		go func() {
			runtime.LockOSThread()
			mine := *p
			var err error
			for mine.next = p.next + thread; mine.next < p.end && err == nil; mine.next += n {
				one := mine
				one.end = one.next + 1
				err = truncating(func(_ *program, f *os.File, text []byte) error {
					_, err := f.Write(text)
					return err
				})(&one)
			}
			done <- err
		}()
	}
	var errs []error
	for range n {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// heir is a program that is left a descriptor, with half of a version written, and what comes after it.
const heir = "heir"

// bequeath writes one half, and has a child write the other, through the descriptor that it inherits.
func (p *program) bequeath(flags int) func(string) error {
	return func(id string) error {
		text := fmt.Appendf(nil, "%q\n", id)
		if flags&os.O_APPEND == 0 {
			var err error
			if text, err = p.version(id); err != nil {
				return err
			}
		}
		f, err := os.OpenFile(p.file, flags, 0)
		if err != nil {
			return err
		}
		half := p.half(text)
		_, err = f.Write(text[:half])
		self, xerr := os.Executable()
		r, w, perr := os.Pipe()
		if err = errors.Join(err, xerr, perr); err != nil {
			return errors.Join(err, f.Close())
		}
		cmd := exec.Command(self, heir)
		cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = r, os.Stderr, []*os.File{f}
		err = errors.Join(cmd.Start(), f.Close(), r.Close())
		p.rest()
		_, werr := w.Write(text[half:])
		if err = errors.Join(err, werr, w.Close()); err != nil {
			return err
		}
		if err = cmd.Wait(); err == nil { // it has closed last
			wrote(id)
		}
		return err
	}
}

func inherit() int {
	const inherited = 3
	f := os.NewFile(inherited, "inherited")
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		_, err = f.Write(text)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	return 0
}
