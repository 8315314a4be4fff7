package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// Whoever reads lines just after somebody was stopped in the middle of an append, or the power failed there, reads whole ones: those
// that were acknowledged, whether it can put the file right or somebody else holds the lock for it.
func TestReadBehindATornAppend(t *testing.T) {
	lines := merge.Lines
	m := newMachine(t, "")
	m.format = &lines
	line := func(i int) string { return fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("p", 700)) }
	tried, acked := "", ""
	r := rand.New(rand.NewPCG(1, 2))
	looks := 0
	look := func(mem *vfs.Mem, boots string, locked bool) {
		looks++
		after := &machine{T: t, mem: mem, format: m.format, boots: boots}
		if locked {
			home, err := mem.OpenDir(machineDir)
			require.NoError(t, err)
			held, err := home.OpenFile(machineFile+".lock", os.O_RDWR|os.O_CREATE, 0o600)
			require.NoError(t, err)
			_, err = held.TryLock()
			require.NoError(t, err)
			defer held.Close()
		}
		var content []byte
		switch looks % 3 {
		case 0:
			g := after.process(Options{})
			content = must(g.Read(context.Background()))
			require.NoError(t, g.Close())
		case 1: // a program under exec
			s := must(newSession(after.process(Options{}), after.process(Options{})))
			_, overlay, _, err := s.Current(context.Background(), Closed{})
			require.NoError(t, err)
			require.False(t, overlay, "nothing is pending")
			content = []byte(after.content())
			require.NoError(t, s.Close(false))
		default: // one that looks again
			s := must(newSession(after.process(Options{}), after.process(Options{})))
			require.NoError(t, s.Settled(context.Background(), func() error {
				content = []byte(after.content())
				return nil
			}))
			require.NoError(t, s.Close(false))
		}
		require.NoError(t, merge.Valid(content, merge.Lines), "acknowledged %d bytes", len(acked))
		require.Truef(t, strings.HasPrefix(tried, string(content)) && bytes.HasPrefix(content, []byte(acked)), "acknowledged %d bytes, tried %d, read %q", len(acked), len(tried), content)
	}
	everyLook := func() {
		for _, locked := range []bool{false, true} {
			look(m.mem.Clone(), m.boots, locked)
			for _, order := range []vfs.Order{vfs.AnyOrder, vfs.InOrder} {
				cuts := m.mem.Cuts(order)
				for i := range min(cuts.Count(), 40) {
					disk := cuts.Sample(r)
					if cuts.Count() <= 40 {
						disk = cuts.Disk(i)
					}
					look(disk, m.boots+"+", locked)
				}
			}
		}
	}
	g := m.process(Options{})
	for i := 0; i < 9; i += 3 {
		ops := make([]merge.Op, 3)
		for k := range ops {
			ops[k] = merge.Op{Kind: merge.OpAppend, Value: []byte(line(i + k))}
			tried += line(i+k) + "\n"
		}
		m.before = func(c vfs.Call) vfs.Fault {
			if c.Changes() && i > 0 { // the first one makes the guard directory and the file
				everyLook()
			}
			if c.Op == "sync" && strings.HasSuffix(c.Path, machineFile) { // killed, or looked at, in the middle of the write before
				for short := 1; short < len(tried)-len(acked); short += 300 {
					for _, locked := range []bool{false, true} {
						mem := m.mem.Clone()
						home, err := mem.OpenDir(machineDir)
						require.NoError(t, err)
						file, err := home.OpenFile(machineFile, os.O_RDWR, 0)
						require.NoError(t, err)
						require.NoError(t, file.Truncate(int64(len(tried)-short)))
						look(mem, m.boots, locked)
					}
				}
			}
			return vfs.Fault{}
		}
		_, err := g.Apply(t.Context(), ops...)
		require.NoError(t, err)
		acked = tried
	}
	m.before = nil
	everyLook()
	require.Greater(t, looks, 500)
}

// An append comes to its end behind the look of a reader that was caught in the middle of it.
func TestReadInTheMiddleOfAnAppend(t *testing.T) {
	lines := merge.Lines
	m := newMachine(t, "0\n")
	m.format = &lines
	g := m.process(Options{})
	_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpAppend, Value: []byte("1")})
	require.NoError(t, err)
	reader := m.process(Options{})
	home := must(m.mem.OpenDir(machineDir))
	target := must(home.OpenFile(machineFile, os.O_RDWR, 0))
	require.NoError(t, target.Truncate(3)) // "0\n1"
	ended := false
	m.before = func(c vfs.Call) vfs.Fault {
		if strings.HasSuffix(c.Path, "/commit.0") && !ended {
			ended = true
			_, err := target.WriteAt([]byte("\n"), 3)
			require.NoError(t, err)
		}
		return vfs.Fault{}
	}
	content, err := reader.Published()
	require.NoError(t, err)
	require.Equal(t, "0\n1\n", string(content))
	require.True(t, ended)
}

// What somebody has written behind the lines, and is none, is not hidden.
func TestReadOfWhatIsNoLine(t *testing.T) {
	lines := merge.Lines
	for _, garbage := range []string{"{", "\x00\n", "{\n1"} {
		m := newMachine(t, "0\n")
		m.format = &lines
		g := m.process(Options{})
		_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpAppend, Value: []byte("1")})
		require.NoError(t, err)
		file := must(must(m.mem.OpenDir(machineDir)).OpenFile(machineFile, os.O_RDWR|os.O_APPEND, 0))
		must(file.Write([]byte(garbage)))
		require.NoError(t, must(m.mem.OpenDir(guardOfFile)).Remove(settledName)) // a power cut took it, which nobody syncs
		for _, read := range []func() ([]byte, error){g.Published, func() ([]byte, error) { return g.Read(t.Context()) }} {
			content, err := read()
			require.NoError(t, err)
			require.Equal(t, "0\n1\n"+garbage, string(content))
		}
	}
}

// A mount point is overwritten in place: who reads it behind one who was stopped in the middle of that sees a whole version.
func TestReadBehindATornOverwrite(t *testing.T) {
	content := func(n int) string { return fmt.Sprintf(`{"a":%d,"pad":%q,"z":%d}`, n, strings.Repeat("p", 1200), n) }
	m := newMachine(t, content(0))
	looks := 0
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "rename" && strings.HasSuffix(c.Path, "/"+machineFile) {
			return vfs.Fault{Err: syscall.EBUSY}
		}
		if c.Op == "sync" && strings.HasSuffix(c.Path, "/"+machineFile) {
			cuts := m.mem.Cuts(vfs.AnyOrder)
			for i := range min(cuts.Count(), 200) {
				looks++
				after := &machine{T: t, mem: cuts.Sample(rand.New(rand.NewPCG(3, uint64(i)))), boots: "+"}
				g := after.process(Options{})
				read := must(g.Read(t.Context()))
				require.Contains(t, []string{content(0), content(1)}, string(read))
				require.NoError(t, g.Close())
			}
		}
		return vfs.Fault{}
	}
	g := m.process(Options{})
	one := merge.Raw("1")
	_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpSet, At: "/a", Value: one}, merge.Op{Kind: merge.OpSet, At: "/z", Value: one})
	require.NoError(t, err)
	require.NotZero(t, looks)
}
