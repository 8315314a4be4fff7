package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// machine is a filesystem in memory with one target, for tests that make one call fail or cut the power at one moment.
type machine struct {
	*testing.T
	mem *vfs.Mem
	// before is asked about each call of every process; nil: all succeed.
	before func(vfs.Call) vfs.Fault
	format *merge.Format // of the target; nil: JSON
	boots  string        // how often it was started again
	// bootless: which boot it is cannot be told, as on macOS and Windows.
	bootless bool
}

const (
	machineDir  = "/data"
	machineFile = "n.json"
	guardOfFile = machineDir + "/." + machineFile + ".guard"
)

func newMachine(t *testing.T, content string) *machine {
	m := &machine{T: t, mem: vfs.NewMem()}
	root, err := m.mem.OpenDir("/")
	require.NoError(t, err)
	require.NoError(t, root.Mkdir(path.Base(machineDir), 0o755))
	m.replace(content)
	m.mem.Sync()
	return m
}

// process is a Guard of a process of its own. It folds only where the test says.
func (m *machine) process(o Options) *Guard {
	return m.processWith(o, func(c vfs.Call) vfs.Fault {
		if m.before == nil {
			return vfs.Fault{}
		}
		return m.before(c)
	})
}

// processWith is process with a question of its own before each call.
func (m *machine) processWith(o Options, before func(vfs.Call) vfs.Fault) *Guard {
	calls := vfs.NewFaults(m.mem.Process(), before)
	parent, err := calls.OpenDir(machineDir)
	require.NoError(m, err)
	if o.Timeout == 0 {
		o.Timeout = -1
	}
	o.Format = m.format
	g := newGuard(parent, machineFile, o)
	g.lockNames = []string{machineFile}
	g.seams.lockTarget = func(ctx context.Context, name string, wait time.Duration) (targetLock, error) {
		f, err := parent.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		return fileTargetLock{f}, waitLock(ctx, f, wait)
	}
	g.seams.makeGuardDir = func() error {
		if err := parent.Mkdir(g.guardName(), 0o700); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	g.wake = make(chan struct{}, 1) // nobody listens
	if g.boot += m.boots; m.bootless {
		g.boot = ""
	}
	return g
}

type fileTargetLock struct{ vfs.File }

func (l fileTargetLock) Release() error  { return l.Close() }
func (l fileTargetLock) Check() error    { return nil }
func (l fileTargetLock) Inherited() bool { return false }

// replace does what a program without any lock does, and syncs it.
func (m *machine) replace(content string) {
	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(m, err)
	f, err := dir.OpenFile(machineFile+".new", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	require.NoError(m, err)
	_, err = f.Write([]byte(content))
	require.NoError(m, err)
	require.NoError(m, f.Sync())
	require.NoError(m, f.Close())
	require.NoError(m, dir.Rename(machineFile+".new", machineFile))
	require.NoError(m, dir.Sync())
}

func (m *machine) content() string {
	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(m, err)
	raw, err := readFile(dir, machineFile)
	require.NoError(m, err)
	return string(raw)
}

// recovered is the target after the next process has used it.
func (m *machine) recovered() string {
	m.before = nil
	g := m.process(Options{})
	_, _, err := g.Recover(m.Context(), false)
	require.NoError(m, err)
	require.NoError(m, g.Close())
	return m.content()
}

// afterPowerCut asks, of every disk that a power cut may leave now (of a sample where there are many), for the target
// after recovery.
func (m *machine) afterPowerCut(check func(content string)) { m.afterCuts(3000, check) }

// recoverThroughPowerCuts recovers, and looks at what a power cut may leave before each of the calls of that.
func (m *machine) recoverThroughPowerCuts(check func(content string)) {
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Changes() {
			m.afterCuts(100, check)
		}
		return vfs.Fault{}
	}
	_, _, err := m.process(Options{}).Recover(m.Context(), false)
	require.NoError(m, err)
	check(m.recovered())
	m.afterPowerCut(check)
}

func (m *machine) afterCuts(enough int, check func(content string)) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, order := range []vfs.Order{vfs.AnyOrder, vfs.InOrder} {
		cuts := m.mem.Cuts(order)
		n := cuts.Count()
		for i := range min(n, enough) {
			disk := cuts.Sample(r)
			if n <= enough {
				disk = cuts.Disk(i)
			}
			check((&machine{T: m.T, mem: disk, format: m.format, boots: m.boots + "+", bootless: m.bootless}).recovered())
		}
	}
}

// failing makes the calls fail that op and the end of the path select.
func failing(op, suffix string, err error) func(vfs.Call) vfs.Fault {
	return func(c vfs.Call) vfs.Fault {
		if c.Op == op && strings.HasSuffix(c.Path, suffix) {
			return vfs.Fault{Err: err}
		}
		return vfs.Fault{}
	}
}

func incr(at string) merge.Op { return merge.Op{Kind: merge.OpIncr, At: at, Value: []byte("1")} }

var errDisk error = syscall.EIO
