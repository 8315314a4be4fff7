//go:build linux || darwin || freebsd

package probe

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// space: a fold needs room for one more version of the file.
func space(path string) Finding {
	found := Finding{Name: "room", State: Info, Means: "-"}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		found.Detail = err.Error()
		return found
	}
	free := uint64(st.Bavail) * uint64(st.Bsize)
	const enough = 100 << 20
	found.State = OK
	found.Detail = fmt.Sprintf("%d MiB free", free>>20)
	if st.Files > 0 {
		found.Detail += fmt.Sprintf(", %d inodes free", uint64(st.Ffree))
	}
	const few = 1000
	if free < enough || st.Files > 0 && uint64(st.Ffree) < few {
		found.State = Weak
		found.Means = "a fold needs room for one more version of the file; a full disk loses nothing that was acknowledged, and takes nothing new"
	}
	return found
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
