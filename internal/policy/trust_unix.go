//go:build unix

package policy

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// trusted: whoever owns the directory of a policy could replace everything below it anyway. Of a symbolic link both are asked for,
// it and what it leads to: anybody may point one at somebody else's file.
func trusted(file string, info fs.FileInfo) bool {
	link, err := os.Lstat(file)
	if err != nil {
		return false
	}
	parent, err := os.Stat(filepath.Dir(file))
	if err != nil {
		return false
	}
	for _, of := range []fs.FileInfo{link, info} {
		if owner := ownerOf(of); owner != 0 && owner != os.Geteuid() && owner != ownerOf(parent) {
			return false
		}
	}
	return true
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return os.Geteuid()
}
