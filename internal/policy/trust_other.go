//go:build !unix

package policy

import "io/fs"

// trusted: there is no owner to be asked here.
func trusted(string, fs.FileInfo) bool { return true }
