//go:build !linux

package probe

import (
	"runtime"

	"jsonguard/internal/vfs"
)

func kindOfFilesystem(path string) Finding {
	return Finding{Name: "filesystem", State: Info, Detail: "its type is not known on " + runtime.GOOS, Means: "on a network filesystem, run doctor and stress on each machine"}
}

func mounts(path string) Finding {
	return Finding{Name: "mounts", State: Info, Detail: "not looked at on " + runtime.GOOS, Means: "-"}
}

func attributes(d vfs.Dir) Finding {
	return Finding{Name: "extended attributes", State: Info, Detail: "not tried on " + runtime.GOOS, Means: "-"}
}
