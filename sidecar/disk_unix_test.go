//go:build unix

package sidecar

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/merge"
)

// onDisk is a target on the real filesystem.
type onDisk struct {
	*testing.T
	path   string
	warned []string
}

func newOnDisk(t *testing.T, content string, perm fs.FileMode) *onDisk {
	d := &onDisk{T: t, path: filepath.Join(t.TempDir(), "n.json")}
	require.NoError(t, os.WriteFile(d.path, []byte(content), 0o600))
	require.NoError(t, os.Chmod(d.path, perm))
	return d
}

func (d *onDisk) open(o Options) *Guard {
	o.Warn = func(text string) { d.warned = append(d.warned, text) }
	g, err := Open(d.path, o)
	require.NoError(d, err)
	d.Cleanup(func() { _ = g.Close() })
	return g
}

func (d *onDisk) guard(names ...string) string {
	return filepath.Join(append([]string{filepath.Dir(d.path), "." + filepath.Base(d.path) + ".guard"}, names...)...)
}

func (d *onDisk) content() string {
	raw, err := os.ReadFile(d.path)
	require.NoError(d, err)
	return string(raw)
}

func (d *onDisk) names(dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(d, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// used makes the guard directory.
func (d *onDisk) used() {
	g := d.open(Options{})
	_, err := g.openedStore(true)
	require.NoError(d, err)
	require.NoError(d, g.Close())
}

// What somebody puts into pending/ that is no sidecar is neither followed, nor waited for, nor read into memory, and holds
// up nobody.
func TestStrangeThingsInPending(t *testing.T) {
	d := newOnDisk(t, `{"n":0}`, 0o600)
	d.used()
	require.NoError(t, unix.Mkfifo(d.guard("pending", "a.1.fifo"), 0o600))
	require.NoError(t, os.Mkdir(d.guard("pending", "a.1.dir"), 0o700))
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, stranger(t, header{}, 1), 0o600))
	require.NoError(t, os.Symlink(secret, d.guard("pending", "a.1.symlink")))
	require.NoError(t, os.WriteFile(d.guard("pending", "a.1.garbage"), []byte("not a sidecar\n{}\n"), 0o600))
	require.NoError(t, os.WriteFile(d.guard("pending", "a.1.empty"), nil, 0o600))
	require.NoError(t, os.WriteFile(d.guard("pending", "a.1.huge"), nil, 0o600))
	require.NoError(t, os.Truncate(d.guard("pending", "a.1.huge"), 1<<42)) // sparse: more than any memory

	g := d.open(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	_, err := g.Flush(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, d.content())
	status, err := g.Status(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(status.Sidecars), 4)
	_, err = g.Verify(t.Context(), false)
	require.NoError(t, err)
	require.FileExists(t, secret)
	all := strings.Join(d.warned, "\n")
	for _, name := range []string{"a.1.fifo", "a.1.dir", "a.1.symlink", "a.1.garbage", "a.1.huge"} {
		require.Contains(t, all, name, "said once")
	}
	require.NotContains(t, d.names(d.guard("pending")), "a.1.empty", "nothing was promised in it")

	_, err = g.Verify(t.Context(), true)
	require.NoError(t, err)
	require.Subset(t, d.names(d.guard("quarantine")), []string{"a.1.garbage.damaged", "a.1.huge.damaged"})
	require.FileExists(t, secret)
}

// A sidecar counts only where its owner could have written the target.
func TestSidecarsOfOtherUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root to give files away")
	}
	for perm, folded := range map[fs.FileMode]bool{0o600: false, 0o644: false, 0o664: true, 0o666: true} {
		d := newOnDisk(t, `{}`, perm)
		d.used()
		name := d.guard("pending", strangerID)
		require.NoError(t, os.WriteFile(name, stranger(t, header{}, 1), 0o600))
		require.NoError(t, os.Chown(name, 4711, 4711))
		g := d.open(Options{})
		_, _, err := g.Recover(t.Context(), false)
		require.NoError(t, err)
		if folded {
			require.Contains(t, d.content(), `"c0"`, "%v", perm)
			require.NoFileExists(t, name)
		} else {
			require.Equal(t, `{}`, d.content(), "%v", perm)
			require.FileExists(t, name)
			require.Contains(t, strings.Join(d.warned, "\n"), "user 4711")
		}
		require.NoError(t, g.Close())
	}
}

// Nothing in the guard directory is readable for more people than the target is.
func TestModesAreNeverWiderThanTheTargets(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	for _, perm := range []fs.FileMode{0o600, 0o640, 0o644, 0o660, 0o664, 0o400} {
		d := newOnDisk(t, `{"n":0,"o":{}}`, perm)
		g := d.open(Options{})
		require.NoError(t, g.Journal(t.Context(), incr("/n")))
		require.NoError(t, g.Journal(t.Context(), merge.Op{Kind: merge.OpAppend, At: "/o", Value: []byte("1")}))
		_, err := g.Flush(t.Context())
		require.NoError(t, err)
		v, err := g.View(t.Context())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(v.Path(), []byte(`{"n":7,"o":{}}`), 0o600))
		_, err = v.Submit(t.Context())
		require.NoError(t, err)
		files := 0
		require.NoError(t, filepath.WalkDir(d.guard(), func(path string, e fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := e.Info()
			require.NoError(t, err)
			wide := perm | 0o600
			if e.IsDir() {
				wide |= 0o100 | perm>>2&0o011 // who may read the files may search
			}
			require.Zero(t, info.Mode().Perm()&^wide, "%s is %v, the target %v", path, info.Mode(), perm)
			files++
			return nil
		}))
		require.Greater(t, files, 12)
		info, err := os.Stat(d.path)
		require.NoError(t, err)
		require.Equal(t, perm, info.Mode().Perm())
		_, err = v.Close(t.Context())
		require.NoError(t, err)
		require.NoError(t, g.Close())
	}
}

// A guard directory is never reached through a symbolic link, nor is anything in it.
func TestPlantedSymlinks(t *testing.T) {
	t.Run("the guard directory", func(t *testing.T) {
		d := newOnDisk(t, `{"n":0}`, 0o600)
		victim := t.TempDir()
		require.NoError(t, os.Symlink(victim, d.guard()))
		g := d.open(Options{})
		require.Error(t, g.Journal(t.Context(), incr("/n")))
		_, err := g.View(t.Context())
		require.Error(t, err)
		require.Empty(t, d.names(victim))
		require.Equal(t, `{"n":0}`, d.content())
	})
	for _, name := range []string{"pending", "views", "quarantine", "lock", "commit.0", "commit.1", "settled", "conflicts.jsonl"} {
		t.Run(name, func(t *testing.T) {
			d := newOnDisk(t, `{"n":0}`, 0o600)
			d.used()
			victim := filepath.Join(t.TempDir(), "victim")
			require.NoError(t, os.RemoveAll(d.guard(name)))
			switch name {
			case "pending", "views", "quarantine":
				require.NoError(t, os.Mkdir(victim, 0o700))
			default:
				require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
			}
			require.NoError(t, os.Symlink(victim, d.guard(name)))
			g := d.open(Options{})
			_ = g.Journal(t.Context(), incr("/n"))
			_ = g.Journal(t.Context(), incr("/n"), merge.Op{Kind: merge.OpAppend, At: "/n", Value: []byte("1")})
			_, _ = g.Flush(t.Context())
			_, _, _ = g.Recover(t.Context(), true)
			_, _ = g.Clean(t.Context())
			_ = g.Close()
			if info, err := os.Stat(victim); err == nil && info.IsDir() {
				require.Empty(t, d.names(victim))
			} else {
				raw, err := os.ReadFile(victim)
				require.NoError(t, err)
				require.Equal(t, "precious", string(raw))
			}
		})
	}
}

func TestHardLinks(t *testing.T) {
	d := newOnDisk(t, `{"n":0}`, 0o600)
	other := d.path + ".other"
	require.NoError(t, os.Link(d.path, other))
	_, err := Open(d.path, Options{})
	require.ErrorIs(t, err, ErrTarget)
	require.ErrorContains(t, err, "--follow-links")
	g := d.open(Options{FollowLinks: true})
	_, err = g.Apply(t.Context(), incr("/n"))
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, d.content())
	raw, err := os.ReadFile(other)
	require.NoError(t, err)
	require.Equal(t, `{"n":0}`, string(raw))

	// A link that comes while a Guard is open.
	e := newOnDisk(t, `{"n":0}`, 0o600)
	h := e.open(Options{})
	require.NoError(t, h.Journal(t.Context(), incr("/n")))
	require.NoError(t, os.Link(e.path, e.path+".other"))
	_, err = h.Flush(t.Context())
	require.ErrorIs(t, err, ErrTarget)
	require.NoError(t, os.Remove(e.path+".other"))
	_, err = h.Flush(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, e.content())
}

// A bind-mounted single file cannot be replaced by rename: it is overwritten, with a record of what it becomes.
func TestBindMountedFile(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root on Linux to mount")
	}
	d := newOnDisk(t, `{"n":0,"pad":"`+strings.Repeat("x", 5000)+`"}`, 0o600)
	if out, err := exec.Command("mount", "--bind", d.path, d.path).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: cannot mount here: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", d.path).Run() })
	g := d.open(Options{})
	_, err := g.Apply(t.Context(), incr("/n"))
	require.NoError(t, err)
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	_, err = g.Flush(t.Context())
	require.NoError(t, err)
	_, err = g.Update(t.Context(), func(doc *merge.Document) error {
		return doc.Do(merge.Op{Kind: merge.OpSet, At: "/pad", Value: []byte(`""`)}, incr("/n"))
	})
	require.NoError(t, err)
	require.NoError(t, g.Close())
	require.Equal(t, `{"n":3,"pad":""}`, d.content())
	require.Contains(t, strings.Join(d.warned, "\n"), "mount point")
	h := d.open(Options{})
	_, err = h.Clean(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":3,"pad":""}`, d.content())
}

// The whole way of status, verify, repair, salvage and clean.
func TestStatusVerifyRepairClean(t *testing.T) {
	ctx := context.Background()
	d := newOnDisk(t, `{}`, 0o600)
	g := d.open(Options{Command: "the writer"})
	status, err := g.Status(ctx)
	require.NoError(t, err)
	require.True(t, status.Exists && status.Settled)
	require.Empty(t, status.Sidecars)

	_, err = g.openedStore(true)
	require.NoError(t, err)
	raw := stranger(t, header{Host: "h", Command: "the dead"}, 4)
	at := strings.Index(string(raw), `"seq":2`)
	raw[at+7] = 'x'
	require.NoError(t, os.WriteFile(d.guard("pending", strangerID), raw, 0o600))
	status, err = g.Status(ctx)
	require.NoError(t, err)
	require.Len(t, status.Sidecars, 1)
	owner := status.Sidecars[0]
	require.Equal(t, Owner{ID: strangerID, Host: "h", Command: "the dead", Pending: 1, Damage: owner.Damage}, owner)
	require.Contains(t, owner.Damage, "checksum")
	require.Equal(t, `{}`, d.content(), "status changes nothing")

	findings, err := g.Verify(ctx, false)
	require.NoError(t, err)
	bad := 0
	for _, f := range findings {
		if !f.OK {
			bad++
			require.Contains(t, f.Path, strangerID)
		}
	}
	require.Equal(t, 1, bad)
	require.Equal(t, `{}`, d.content(), "verify changes nothing")

	findings, err = g.Verify(ctx, true)
	require.NoError(t, err)
	repaired := 0
	for _, f := range findings {
		if f.Repaired {
			repaired++
		}
		require.True(t, f.OK, "%+v", f)
	}
	require.Equal(t, 2, repaired, "what is in front of the damage is folded, the sidecar moved")
	require.Contains(t, d.content(), `"c0"`)
	kept, err := os.ReadFile(d.guard("quarantine", strangerID+".damaged"))
	require.NoError(t, err)
	require.Equal(t, string(raw), string(kept), "whole")

	removed, err := g.Clean(ctx)
	require.NoError(t, err)
	require.Empty(t, removed, "quarantine is worth keeping")
	require.NoError(t, os.Remove(d.guard("quarantine", strangerID+".damaged")))
	require.NoError(t, g.Close())
	g = d.open(Options{})
	removed, err = g.Clean(ctx)
	require.NoError(t, err)
	require.Contains(t, removed, d.guard())
	require.NoDirExists(t, d.guard())
	var doc map[string]int
	require.NoError(t, json.Unmarshal([]byte(d.content()), &doc))
	require.Equal(t, map[string]int{"c0": 1}, doc)
}

// What a program that died left half written is kept, and its complete records come in when somebody asks.
func TestSalvage(t *testing.T) {
	d := newOnDisk(t, `{"a":1,"b":2}`, 0o600)
	g := d.open(Options{})
	v, err := g.View(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(v.Path(), []byte(`{"a":1,"b":2,"c":3,"d":{"e":`), 0o600))
	_, err = v.Close(t.Context())
	require.ErrorIs(t, err, ErrTorn)
	require.Equal(t, `{"a":1,"b":2}`, d.content())
	_, salvaged, err := g.Recover(t.Context(), true)
	require.NoError(t, err)
	require.Len(t, salvaged, 1)
	require.Contains(t, d.content(), `"c":3`)
	_, salvaged, err = g.Recover(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, salvaged, "once")
}
