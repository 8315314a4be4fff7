package sidecar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"

	"jsonguard/internal/vfs"
)

func openOrMakeDir(parent vfs.Dir, name string, perm fs.FileMode) (vfs.Dir, error) {
	d, err := parent.OpenDir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	if err := parent.Mkdir(name, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return parent.OpenDir(name)
}

func writeNew(dir vfs.Dir, name string, content []byte, perm fs.FileMode) error {
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	return writeSynced(f, content)
}

// writeSynced fills a new file and closes it.
func writeSynced(file vfs.File, content []byte) error {
	err := writeWhole(file, content, 0)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

// cutTo takes off what is behind size. A file that has it is left alone: to set the size that is there would have the next
// fdatasync write the inode.
func cutTo(f vfs.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size == size {
		return err
	}
	return f.Truncate(size)
}

// writeWhole writes all of b at off, or fails.
func writeWhole(f vfs.File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// readFile reads a regular file of a guard directory whole.
func readFile(dir vfs.Dir, name string) ([]byte, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, _, err := readAll(f)
	return content, err
}

// readAll reads a regular file from its start and returns what fstat said before.
func readAll(f vfs.File) ([]byte, vfs.Info, error) { return readAllInto(nil, f) }

// readAllInto is readAll that uses buffer, if the content fits in.
func readAllInto(buffer []byte, f vfs.File) ([]byte, vfs.Info, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, info, err
	}
	if !info.Mode.IsRegular() {
		return nil, info, fmt.Errorf("%w: not a regular file", ErrTarget)
	}
	if err := checkNoHoles(f, info.Size); err != nil {
		return nil, info, err
	}
	content, err := readToEnd(f, info.Size, buffer)
	return content, info, err
}

// readToEnd reads what r holds, size bytes or, by now, more or less, into buffer if that is large enough.
func readToEnd(r io.ReaderAt, size int64, buffer []byte) ([]byte, error) {
	buf := buffer[:0]
	if int64(cap(buf)) < size+1 { // one more: the end is seen in the same call
		buf = make([]byte, 0, size+1)
	}
	buf = readHalves(r, buf, size)
	for {
		n, err := r.ReadAt(buf[len(buf):cap(buf)], int64(len(buf)))
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, len(buf)/4+4096)...)[:len(buf)]
		}
	}
}

// checkNoHoles keeps a file from being read that has no end: one of a terabyte without content costs nothing to make.
// Nothing that is read here has a zero byte in it, and holes are full of them. The places are random, so that filling
// them costs as much as filling the file.
func checkNoHoles(f vfs.File, size int64) error {
	const huge, places = 64 << 20, 64
	for range places {
		if size <= huge {
			return nil
		}
		var b [1]byte
		if _, err := f.ReadAt(b[:], rand.Int64N(size)); err != nil {
			return err
		}
		if b[0] == 0 {
			return fmt.Errorf("%w: %d bytes with holes are no text", ErrTarget, size)
		}
	}
	return nil
}

// readHalves reads the first half of a large file while another thread reads the second: to copy it into fresh memory is
// what takes the time. What it could not read in full is left to be read on.
func readHalves(r io.ReaderAt, buf []byte, size int64) []byte {
	const worthwhile = 8 << 20
	if size < worthwhile {
		return buf
	}
	half := size / 2
	second := inBackground(func() int64 { n, _ := r.ReadAt(buf[half:size], half); return int64(n) })
	first, _ := r.ReadAt(buf[:half], 0)
	read := int64(first)
	if behind := second(); read == half {
		read += behind
	}
	return buf[:read]
}

// eachPart calls do for what r holds, part by part.
func eachPart(r io.ReaderAt, do func([]byte) error) error {
	const part = 128 << 10
	buffer := make([]byte, part)
	for at := int64(0); ; {
		n, err := r.ReadAt(buffer, at)
		if n > 0 {
			if err := do(buffer[:n]); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writer writes a file from its beginning on. While one part of a large version is copied, the disk writes the one before it.
type writer struct {
	f         vfs.File
	at, begun int64
}

func (w *writer) write(b []byte) error {
	const part = 8 << 20
	for len(b) > 0 {
		n := min(len(b), part)
		if err := writeWhole(w.f, b[:n], w.at); err != nil {
			return err
		}
		b = b[n:]
		w.at += int64(n)
		if w.at-w.begun >= part {
			vfs.StartWriteback(w.f, w.begun, w.at-w.begun)
			w.begun = w.at
		}
	}
	return nil
}
