package differential

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// elsewhere is what is named instead of what lies outside of the working directory: nothing has that name.
const elsewhere = "elsewhere"

// Of procfs these may be named: nothing that is done to them does harm.
var proc = []string{"/proc/self/comm"}

// inside says whether a path, taken from a directory that is an absolute path without symlinks, stays in the working directory on all of
// its way, whatever symlinks and directories were made, removed and moved by then, and where it ends. Who draws paths as root
// must not trust that none of them leads out: one call too many and /dev/null is a file.
func (p *program) inside(from, path string) (at string, is bool) {
	at = from
	if !p.within(at) {
		return "", false
	}
	const most = 40 // symlinks: MAXSYMLINKS of the kernel
	steps := func(path string) (steps []string, is bool) {
		if strings.HasPrefix(path, "/") {
			at = p.cwd
			for _, root := range []string{p.cwd, "/proc/self/cwd", "/proc/thread-self/cwd"} {
				if path == root || strings.HasPrefix(path, root+"/") {
					return strings.Split(path[len(root):], "/"), true
				}
			}
			return nil, false
		}
		return strings.Split(path, "/"), true
	}
	rest, is := steps(path)
	if !is {
		return path, slices.Contains(proc, path) || p.ownDescriptor(path)
	}
	for links := 0; len(rest) > 0; {
		next := rest[0]
		rest = rest[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			if at == p.cwd {
				return "", false
			}
			at = filepath.Dir(at)
			continue
		}
		target, err := os.Readlink(at + "/" + next)
		if err != nil {
			at += "/" + next
			continue
		}
		if links++; links > most {
			return at, true // ELOOP
		}
		through, is := steps(target)
		if !is {
			return "", false
		}
		rest = append(through, rest...)
	}
	return at, true
}

func (p *program) within(path string) bool {
	return path == p.cwd || strings.HasPrefix(path, p.cwd+"/")
}

// ownDescriptor: one that was opened by a path that was inside.
func (p *program) ownDescriptor(path string) bool {
	return slices.ContainsFunc(p.files, func(f *open) bool {
		return slices.Contains(descriptorNames(f.fd), path)
	})
}

func descriptorNames(fd int) (names []string) {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd", "/proc/thread-self/fd"} {
		names = append(names, fmt.Sprintf("%s/%d", dir, fd))
	}
	return names
}

// start is the directory that a path is taken from.
func (p *program) start(dir uintptr) string {
	if dir == here {
		return p.cwd
	}
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir))
	if err != nil {
		return p.cwd // no descriptor: the call fails
	}
	return at
}

func TestNoPathLeadsOut(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	work := filepath.Join(dir, "work")
	require.NoError(t, os.MkdirAll(filepath.Join(work, "d/e"), 0o755))
	for name, to := range map[string]string{"up": ".", "dlink": "d", "out": "..", "further": "up/out", "d/back": "../up/..", "loop": "loop", "null": "/dev/null",
		"abs": filepath.Join(work, "d"), "beside": work + "2/x"} {
		require.NoError(t, os.Symlink(to, filepath.Join(work, name)))
	}
	p := &program{cwd: work, files: []*open{{fd: 5}}}
	for path, want := range map[string]bool{
		"a.json": true, "": true, ".": true, "..": false, "d/..": true, "d/../..": false, "d/e/../../a.json": true, "missing/../..": false, "dlink/../a.json": true, "up/a.json": true,
		"up/../a.json": false, "dlink/e/../..": true, "dlink/../../x": false, "out": false, "out/work/a.json": false, "further/x": false, "d/back/x": false, "loop": true,
		"null": false, "/dev/null": false, "/": false, "/etc/a.json": false, "abs/x": true, "abs/../x": true, "abs/../../x": false, "beside": false, work: true, work + "/x": true, work + "2/x": false, work + "/../x": false,
		"/proc/self/comm": true, "/proc/self/cwd/a.json": true, "/proc/self/cwd/../a.json": false, "/proc/self/fd/5": true, "/proc/self/fd/1": false, "/dev/fd/5": true, "/proc/self/fd/5/..": false, "/proc/1/comm": false,
	} {
		_, is := p.inside(work, path)
		require.Equal(t, want, is, path)
	}
	_, is := p.inside(filepath.Join(work, "d/e"), "../..")
	require.True(t, is)
	_, is = p.inside(filepath.Join(work, "d/e"), "../../..")
	require.False(t, is)
	_, is = p.inside(dir, "a.json")
	require.False(t, is)
}
