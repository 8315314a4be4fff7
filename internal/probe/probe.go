// Package probe finds out by trying which of jsonguard's promises a directory's filesystem keeps.
//
// What it answers is true of the moment and the machine it ran on: two machines that share a directory may each exclude
// their own processes and not each other's. It leaves nothing behind, and cannot see what a power cut would do: that a
// directory can be synced is tried, that the disk obeys is believed.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
)

// State of a promise.
type State string

const (
	OK   State = "ok"
	Weak State = "weak" // kept with less, which Means says
	No   State = "no"
	Info State = "info" // a fact to know
)

// Finding is the answer to one question.
type Finding struct {
	Name     string `json:"name"`
	State    State  `json:"state"`
	Required bool   `json:"required"` // no jsonguard without it
	Detail   string `json:"detail"`   // what was seen
	Means    string `json:"means"`    // for somebody who wants to keep a file here
}

// Elsewhere asks another process whether it gets a lock; try names the one of Tries to use.
type Elsewhere func(try, path string) (got bool, err error)

// Tries are what the other process does: it takes a lock, if it is free, and gives it back.
var Tries = map[string]func(path string) (bool, error){flockOfFile: tryFlock, lockOfTarget: tryLock}

const (
	flockOfFile  = "flock" // the flock of a file
	lockOfTarget = "lock"  // what jsonguard takes of a target, whatever that is made of
)

func tryLock(target string) (bool, error) {
	l, got, err := lock.Try(target)
	if got {
		err = l.Release()
	}
	return got, err
}

func tryFlock(path string) (bool, error) {
	dir, err := vfs.OS.OpenDir(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	f, err := dir.OpenFile(filepath.Base(path), os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	got, err := f.TryLock()
	if got {
		err = errors.Join(err, f.Unlock())
	}
	return got, err
}

// Dir tries everything in dir, in a directory of its own that it removes.
func Dir(dir string, elsewhere Elsewhere) ([]Finding, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: errors.New("not a directory")}
	}
	findings := []Finding{kindOfFilesystem(path), mounts(path)}
	read := opens(path)
	findings = append(findings, read)
	place, err := os.MkdirTemp(path, ".jsonguard-doctor-")
	if err != nil {
		return append(findings, failed(Finding{
			Name: "write", State: No, Required: true,
			Means: "a fold makes a new file beside the old one: without the right to write in the directory nothing can be changed",
		}, err), space(path)), nil
	}
	defer removeTree(place)
	d, err := vfs.OS.OpenDir(place)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	findings = append(findings, Finding{Name: "write", State: OK, Required: true, Detail: "files can be made", Means: "-"})
	for _, try := range []func(vfs.Dir) Finding{
		func(d vfs.Dir) Finding { return exclusion(d, elsewhere) },
		func(d vfs.Dir) Finding { return ownLock(d, elsewhere) },
		oneProcess, replaces, syncs, hardLinks, attributes, caseKept,
	} {
		findings = append(findings, try(d))
	}
	return append(findings, space(path)), nil
}

// removeTree is os.RemoveAll for a directory of ours in one that may not be read, which that would open.
func removeTree(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		_ = os.RemoveAll(filepath.Join(dir, e.Name()))
	}
	_ = os.Remove(dir)
}

// opens: jsonguard works in the directory through a descriptor, which needs the right to read it.
func opens(path string) Finding {
	found := Finding{Name: "read", State: OK, Required: true, Detail: "the directory can be opened", Means: "-"}
	d, err := vfs.OS.OpenDir(path)
	if err != nil {
		found.State, found.Means = No, "jsonguard holds the directory open while it works there: the right to read it is needed"
		return failed(found, err)
	}
	_ = d.Close()
	return found
}

// failed says what went wrong. On a full disk that says nothing about the filesystem.
func failed(f Finding, err error) Finding {
	f.Detail = err.Error()
	if isFull(err) {
		f.Means = "the disk is full, so that this could not be tried: make room, and run doctor again"
	}
	return f
}

func create(d vfs.Dir, name, content string) (vfs.File, error) {
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write([]byte(content)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// LockBetweenProcesses is the name of the finding that flock excludes.
const LockBetweenProcesses = "lock between processes"

// exclusion: a lock that two processes get at once is none.
func exclusion(d vfs.Dir, elsewhere Elsewhere) Finding {
	found := Finding{Name: LockBetweenProcesses, State: Weak,
		Means: "jsonguard holds a lease here (a killed holder costs 10 s); other programs' flock and jsonguard do not exclude each other"}
	f, err := create(d, "lock", "")
	if err != nil {
		return failed(found, err)
	}
	defer f.Close()
	if got, err := f.TryLock(); err != nil || !got {
		found.Detail = fmt.Sprintf("flock failed: %v", err)
		return found
	}
	path := filepath.Join(d.Path(), "lock")
	if err := excludes(func() (bool, error) { return elsewhere(flockOfFile, path) }, f.Unlock); err != nil {
		found.Detail = "flock: " + err.Error()
		return found
	}
	found.State, found.Detail, found.Means = OK, "flock excludes another process, and is free again after it", "-"
	return found
}

// ownLock tries what jsonguard takes, flock or lease.
func ownLock(d vfs.Dir, elsewhere Elsewhere) Finding {
	found := Finding{Name: "jsonguard's own lock", Required: true, State: No, Means: "two jsonguards would write at once"}
	target := filepath.Join(d.Path(), "target")
	l, err := lock.Acquire(context.Background(), target)
	if err != nil {
		return failed(found, err)
	}
	defer l.Release()
	if err := excludes(func() (bool, error) { return elsewhere(lockOfTarget, target) }, l.Release); err != nil {
		found.Detail = err.Error()
		return found
	}
	found.State, found.Detail, found.Means = OK, "a flock, which excludes another process", "-"
	if !lock.Excludes(target) {
		found.Detail = "a lease, which excludes another process"
	}
	return found
}

// excludes: the other process must not get what is held, and must get it when it is given back.
func excludes(elsewhere func() (bool, error), release func() error) error {
	got, err := elsewhere()
	if err != nil {
		return fmt.Errorf("the other process: %w", err)
	}
	if got {
		return errors.New("given to two processes at once")
	}
	if err := release(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	got, err = elsewhere()
	if err != nil {
		return fmt.Errorf("the other process: %w", err)
	}
	if !got {
		return errors.New("a lock that was given back is still held")
	}
	return nil
}

// oneProcess: two open files of one process must exclude each other too. Where flock is made of fcntl locks (NFS before
// Linux 2.6.12, some FUSE) they do not.
func oneProcess(d vfs.Dir) Finding {
	found := Finding{Name: "lock between open files", State: Weak,
		Means: "locks belong to the process: goroutines and threads are kept apart by jsonguard itself, other libraries in one process are not"}
	a, err := create(d, "lock2", "")
	if err != nil {
		found.Detail = err.Error()
		return found
	}
	defer a.Close()
	b, err := d.OpenFile("lock2", os.O_RDWR, 0)
	if err != nil {
		found.Detail = err.Error()
		return found
	}
	defer b.Close()
	if got, err := a.TryLock(); err != nil || !got {
		found.Detail = fmt.Sprintf("flock failed: %v", err)
		return found
	}
	if got, err := b.TryLock(); err != nil || got {
		found.Detail = fmt.Sprintf("two open files of one process got it at once (%v)", err)
		return found
	}
	found.State, found.Detail, found.Means = OK, "flock belongs to the open file", "-"
	return found
}

// replaces: a reader that has the old version open keeps it, the name gives the new one, and never is there none.
func replaces(d vfs.Dir) Finding {
	found := Finding{Name: "atomic replace", Required: true, State: No, Means: "readers could see half a file"}
	err := func() error {
		old, err := create(d, "version", "old")
		if err != nil {
			return err
		}
		defer old.Close()
		new, err := create(d, "version.new", "new")
		if err != nil {
			return err
		}
		if err := new.Close(); err != nil {
			return err
		}
		if err := d.Rename("version.new", "version"); err != nil {
			return err
		}
		var seen [3]byte
		if _, err := old.ReadAt(seen[:], 0); err != nil || string(seen[:]) != "old" {
			return fmt.Errorf("the open old version changed to %q (%w)", seen, err)
		}
		now, err := d.OpenFile("version", os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer now.Close()
		if _, err := now.ReadAt(seen[:], 0); err != nil || string(seen[:]) != "new" {
			return fmt.Errorf("the name still gives %q (%w)", seen, err)
		}
		if _, err := d.Stat("version.new"); !errors.Is(err, fs.ErrNotExist) {
			return errors.New("the old name is still there")
		}
		return nil
	}()
	if err != nil {
		return failed(found, err)
	}
	found.State, found.Detail, found.Means = OK, "rename replaces a file that is open, in one step", "-"
	return found
}

func syncs(d vfs.Dir) Finding {
	found := Finding{Name: "durable", State: Weak, Means: "a change that was acknowledged may be gone after a power cut"}
	f, err := create(d, "synced", "x")
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return failed(found, fmt.Errorf("fsync of a file: %w", err))
	}
	if err := d.Sync(); err != nil {
		found.Detail = "fsync of the directory: " + err.Error()
		return found
	}
	found.State, found.Detail, found.Means = OK, "files and directory can be synced", "-"
	return found
}

func hardLinks(d vfs.Dir) Finding {
	found := Finding{Name: "hard links", State: Weak, Means: "only needed where locks do not exclude: the lease falls back to O_EXCL"}
	f, err := create(d, "linked", "x")
	if err == nil {
		err = errors.Join(f.Close(), d.Link("linked", nil, "linked2"))
	}
	if err != nil {
		found.Detail = err.Error()
		return found
	}
	info, err := d.Stat("linked")
	if err != nil || info.Links != 2 {
		found.Detail = fmt.Sprintf("%d names counted after link (%v)", info.Links, err)
		return found
	}
	found.State, found.Detail, found.Means = OK, "they can be made, and are counted", "-"
	return found
}

// caseKept: two targets that differ in case share one lock file on such a filesystem, which costs waiting, no data.
func caseKept(d vfs.Dir) Finding {
	found := Finding{Name: "letter case", State: Info, Means: "-", Detail: "names that differ in case are different files"}
	f, err := create(d, "case", "")
	if err != nil {
		found.Detail = err.Error()
		return found
	}
	_ = f.Close()
	if _, err := d.Stat("CASE"); err == nil {
		found.Detail = "names that differ in case are one file"
		found.Means = "Results.json and results.json are one file with one lock"
	}
	return found
}
