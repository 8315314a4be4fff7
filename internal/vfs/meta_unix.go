//go:build unix

package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// CopyMeta: owner first, because chown(2) clears setuid and setgid; then attributes, of which
// system.posix_acl_access sets group bits; the mode last.
func (f *osFile) CopyMeta(from File) (lost []string) {
	source, err := from.Stat()
	if err != nil {
		return []string{fmt.Sprintf("mode, owner and attributes (%v)", err)}
	}
	own, err := f.Stat()
	if err != nil {
		return []string{fmt.Sprintf("mode, owner and attributes (%v)", err)}
	}
	mode := source.Mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if own.UID != source.UID {
		if err := f.Chown(source.UID, -1); err != nil {
			lost = append(lost, fmt.Sprintf("owner %d (%v)", source.UID, reason(err)))
			mode &^= fs.ModeSetuid
		}
	}
	if own.GID != source.GID {
		if err := f.Chown(-1, source.GID); err != nil {
			lost = append(lost, fmt.Sprintf("group %d (%v)", source.GID, reason(err)))
			// The group it has got now was never meant to have these bits: others' are all it may have.
			mode = mode&^(fs.ModeSetgid|0o070) | mode&0o007<<3
		}
	}
	lost = append(lost, f.copyAttributes(from)...)
	if err := f.Chmod(mode); err != nil {
		lost = append(lost, fmt.Sprintf("mode %v (%v)", mode, reason(err)))
	}
	return lost
}

func (f *osFile) copyAttributes(from File) (lost []string) {
	source := realFile(from)
	if source == nil {
		return nil
	}
	for _, name := range attributes(source) {
		value, err := attribute(source, name)
		if err == nil {
			if present, perr := attribute(f, name); perr == nil && bytes.Equal(present, value) {
				continue // inherited from the directory, or given by the security module
			}
			err = unix.Fsetxattr(int(f.Fd()), name, value, 0)
		}
		if err != nil {
			lost = append(lost, fmt.Sprintf("attribute %s (%v)", name, err))
		}
	}
	return lost
}

// attributes lists the extended attributes; a filesystem without any has none to lose.
func attributes(f *osFile) []string {
	size, err := unix.Flistxattr(int(f.Fd()), nil)
	if err != nil || size == 0 {
		return nil
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(int(f.Fd()), list); err != nil {
		return nil
	}
	var names []string
	for name := range bytes.SplitSeq(list[:size], []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names
}

func attribute(f *osFile, name string) ([]byte, error) {
	size, err := unix.Fgetxattr(int(f.Fd()), name, nil)
	if err != nil {
		return nil, err
	}
	value := make([]byte, size)
	size, err = unix.Fgetxattr(int(f.Fd()), name, value)
	return value[:max(size, 0)], err
}

// reason is the errno without the path that the message names already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
