package sidecar

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

func appendOp(value string) merge.Op { return merge.Op{Kind: merge.OpAppend, Value: []byte(value)} }

// newLinesMachine has a target of JSON Lines.
func newLinesMachine(t *testing.T, content string) *machine {
	m := newMachine(t, content)
	lines := merge.Lines
	m.format = &lines
	return m
}

// echo is what `echo >>` of a program without a lock does, and a sync.
func (m *machine) echo(line string) { require.NoError(m, m.write(line).Sync()) }

// write appends a line without a lock and without an fsync.
func (m *machine) write(line string) vfs.File {
	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(m, err)
	f, err := dir.OpenFile(machineFile, os.O_RDWR|os.O_APPEND, 0)
	require.NoError(m, err)
	_, err = f.Write([]byte(line))
	require.NoError(m, err)
	return f
}

func TestPlaceOfABlock(t *testing.T) {
	const block = "{\"a\":1}\n{\"b\":2}\n"
	for _, c := range []struct {
		what, tail string
		at         int
	}{
		{"nothing", "", -1},
		{"whole", block, 0},
		{"whole, others behind", block + "{\"x\":1}\n", 0},
		{"whole, others before", "{\"x\":1}\n" + block, 8},
		{"the end of a longer line is another line", "[" + block, -1},
		{"torn", block[:5], 0},
		{"torn, others before", "{\"x\":1}\n" + block[:5], 8},
		{"zeros", strings.Repeat("\x00", len(block)), 0},
		{"zeros within", block[:4] + "\x00\x00" + block[6:], 0},
		{"others only", "{\"x\":1}\n", -1},
	} {
		t.Run(c.what, func(t *testing.T) { require.Equal(t, c.at, placeOf([]byte(block), []byte(c.tail), true)) })
	}
	require.Equal(t, -1, placeOf([]byte(block), []byte("{\"x\":1}\n"+block[:5]), false), "the file goes on")
}

// What others appended since may be of any size: it is not read, and not taken for the block.
func TestALogThatGrewSinceATornAppend(t *testing.T) {
	for name, torn := range map[string]string{"nothing written": "", "written": "\"mine\"\n"} {
		t.Run(name, func(t *testing.T) {
			m := newLinesMachine(t, "0\n")
			g := m.process(Options{})
			require.NoError(t, g.Journal(t.Context(), appendOp(`"mine"`)))
			stopped := false
			m.before = func(c vfs.Call) vfs.Fault {
				if stopped = stopped || c.Op == "write" && strings.HasSuffix(c.Path, "/"+machineFile); stopped {
					return vfs.Fault{Err: vfs.ErrKilled}
				}
				return vfs.Fault{}
			}
			_, err := g.Flush(t.Context())
			require.Error(t, err)
			m.before = nil
			others := strings.Repeat("\"others\"\n", othersAtMost/8)
			m.echo(torn + others)
			want := "0\n" + torn + others
			if torn == "" {
				want += "\"mine\"\n"
			}
			require.True(t, want == m.recovered(), "once, and nobody's line is touched")
		})
	}
}

// A full disk takes half of a block. What another program appended in the same moment is not cut off with it.
func TestAShortAppendIsCutBack(t *testing.T) {
	for name, c := range map[string]struct {
		before string // others' lines
		want   string
	}{
		"alone":            {"", "0\n"},
		"behind another's": {"1\n", "0\n1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newLinesMachine(t, "0\n")
			g := m.process(Options{})
			m.before = func(call vfs.Call) vfs.Fault {
				if call.Op == "write" && strings.HasSuffix(call.Path, "/"+machineFile) {
					m.before = nil
					m.echo(c.before)
					return vfs.Fault{Short: true}
				}
				return vfs.Fault{}
			}
			_, err := g.Apply(t.Context(), appendOp(`"0123456789"`))
			require.Error(t, err)
			require.NotErrorIs(t, err, ErrNotDurable)
			m.afterPowerCut(func(content string) { require.Equal(t, c.want, content) })
		})
	}
	t.Run("before another's", func(t *testing.T) {
		m := newLinesMachine(t, "0\n")
		g := m.process(Options{})
		written := false
		m.before = func(call vfs.Call) vfs.Fault {
			isTarget := strings.HasSuffix(call.Path, "/"+machineFile)
			if written && isTarget && call.Op == "stat" {
				m.before = nil
				m.echo("1\n")
			}
			if isTarget && call.Op == "write" {
				written = true
				return vfs.Fault{Short: true}
			}
			return vfs.Fault{}
		}
		_, err := g.Apply(t.Context(), appendOp(`"0123456789"`))
		require.ErrorIs(t, err, ErrNotDurable)
		require.Contains(t, m.content(), "1\n", "glued to ours by its own doing, but there")
	})
}

// "lines of which nothing is there are appended under the old record": another's line, not synced, made the target longer
// than it is after the power cut.
func TestATargetThatIsShorterAfterAPowerCut(t *testing.T) {
	m := newLinesMachine(t, "0\n")
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), appendOp("1")))
	m.write("\"a long line of another program\"\n")
	var disk *machine
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "write" && strings.HasSuffix(c.Path, "/"+machineFile) { // the record is on disk, the line is not
			disk = &machine{T: t, mem: m.mem.Cuts(vfs.InOrder).Disk(0), format: m.format}
		}
		return vfs.Fault{}
	}
	_, err := g.Flush(t.Context())
	require.NoError(t, err)
	require.NotNil(t, disk)

	written := false
	disk.before = func(c vfs.Call) vfs.Fault {
		if written { // killed as soon as the line is there again
			return vfs.Fault{Err: vfs.ErrKilled}
		}
		written = c.Op == "write" && strings.HasSuffix(c.Path, "/"+machineFile)
		return vfs.Fault{}
	}
	_, _, err = disk.process(Options{}).Recover(t.Context(), false)
	require.Error(t, err)
	require.True(t, written)
	require.Equal(t, "0\n1\n", disk.content())
	require.Equal(t, "0\n1\n", disk.recovered())
}

// A record whose fsync failed is there for whoever reads it next: it is taken back.
func TestAnAppendWhoseRecordWasNotSyncedIsTakenBack(t *testing.T) {
	for name, always := range map[string]bool{"once": false, "always": true} {
		t.Run(name, func(t *testing.T) {
			m := newLinesMachine(t, "0\n")
			g := m.process(Options{})
			_, err := g.Apply(t.Context(), appendOp("1"))
			require.NoError(t, err)
			fault := failing("sync", "commit.1", errDisk)
			m.before = func(c vfs.Call) vfs.Fault {
				f := fault(c)
				if f.Err != nil && !always {
					m.before = nil
				}
				return f
			}
			_, err = g.Apply(t.Context(), appendOp("2"))
			require.ErrorIs(t, err, errDisk)
			require.Equal(t, always, errors.Is(err, ErrNotDurable))
			if !always {
				m.afterPowerCut(func(content string) { require.Equal(t, "0\n1\n", content) })
			}
		})
	}
}

func TestARecordThatCouldNotBeWrittenDoesNotHappen(t *testing.T) {
	m := newLinesMachine(t, "0\n")
	g := m.process(Options{})
	_, err := g.Apply(t.Context(), appendOp("1"))
	require.NoError(t, err)
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "write" && strings.HasSuffix(c.Path, "commit.1") {
			m.before = nil
			return vfs.Fault{Short: true}
		}
		return vfs.Fault{}
	}
	_, err = g.Apply(t.Context(), appendOp("2"))
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrNotDurable)
	require.Equal(t, "0\n1\n", m.recovered())
}

// logrotate moves the log away between the record and the append: nobody knows whether the block is in the old file.
// killWhileAppending kills g's process when its fold is about to write to the target.
func (m *machine) killWhileAppending(g *Guard) {
	stopped := false
	m.before = func(c vfs.Call) vfs.Fault {
		if stopped = stopped || c.Op == "write" && strings.HasSuffix(c.Path, "/"+machineFile); stopped {
			return vfs.Fault{Err: vfs.ErrKilled}
		}
		return vfs.Fault{}
	}
	_, err := g.Flush(m.Context())
	require.Error(m, err)
	require.True(m, stopped)
	m.before = nil
}

func TestALogThatIsRotatedInTheMiddleOfAnAppend(t *testing.T) {
	m := newLinesMachine(t, "0\n")
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), appendOp("1")))
	m.killWhileAppending(g)

	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(t, err)
	require.NoError(t, dir.Rename(machineFile, machineFile+".1"))
	m.replace("9\n")
	require.Equal(t, "9\n1\n", m.recovered())
}

func TestALogThatIsRemovedInTheMiddleOfAnAppend(t *testing.T) {
	m := newLinesMachine(t, "0\n")
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), appendOp("1")))
	id := g.lastKept()
	m.killWhileAppending(g)
	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(t, err)
	require.NoError(t, dir.Remove(machineFile))

	r, _, err := m.process(Options{}).Recover(t.Context(), false)
	require.NoError(t, err)
	require.Len(t, r.Rejected, 1)
	require.Equal(t, id.sidecar, r.Rejected[0].Sidecar, "it was acknowledged: it is kept in quarantine")
}

// An append that may happen yet is not tried again.
func TestAnAppendThatCannotBeTakenBackIsNotDoneTwice(t *testing.T) {
	m := newLinesMachine(t, "0\n")
	g := m.process(Options{})
	_, err := g.Apply(t.Context(), appendOp("1")) // generation 2
	require.NoError(t, err)
	recorded := false
	m.before = func(c vfs.Call) vfs.Fault {
		switch {
		case c.Op == "sync" && strings.HasSuffix(c.Path, "commit.1"):
			recorded = true
			m.echo("5\n")
		case recorded && c.Op == "write" && strings.HasSuffix(c.Path, "commit.0"):
			return vfs.Fault{Err: errDisk}
		}
		return vfs.Fault{}
	}
	_, err = g.Apply(t.Context(), appendOp("2"))
	require.ErrorIs(t, err, ErrNotDurable)
	require.Equal(t, "0\n1\n5\n", m.recovered(), "at most once")
}
