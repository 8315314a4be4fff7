package sidecar

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
)

func (m *machine) sidecarOf(g *Guard) []byte {
	dir, err := m.mem.OpenDir(guardOfFile + "/" + pendingName)
	require.NoError(m, err)
	raw, err := readFile(dir, g.journal.id)
	require.NoError(m, err)
	return raw
}

// A journaled change finds its place made: the length of the file is on disk already, and nothing else is changed by it.
func TestASidecarIsMadeLongerThanItIs(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	grew, writes := 0, 0
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "write" {
			writes++
		}
		return vfs.Fault{}
	}
	const changes = 1000
	length := len(m.sidecarOf(g))
	for range changes {
		require.NoError(t, g.Journal(t.Context(), incr("/n")))
		raw := m.sidecarOf(g)
		if len(raw) > length {
			grew, length = grew+1, len(raw)
		}
		require.EqualValues(t, g.journal.allocated, len(raw))
		require.Zero(t, len(bytes.Trim(raw[g.journal.size:], "\x00")))
	}
	require.Equal(t, changes, writes)
	require.Less(t, grew, 8)
	m.mem.Process().Kill()
	require.Equal(t, fmt.Sprintf(`{"n":%d}`, changes+1), m.recovered())
}

// What was cut back is made as long again at once.
func TestASidecarThatWasCutBackGrowsAtOnce(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	g.cutFrom = 2000
	for range 30 {
		require.NoError(t, g.Journal(t.Context(), incr("/n")))
	}
	long := len(m.sidecarOf(g))
	_, err := g.Flush(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, g.journal.headerSize, len(m.sidecarOf(g)))
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.Len(t, m.sidecarOf(g), long)
	require.Contains(t, m.recovered(), "31")
}

// Where there is no room for what comes later, there may be room for what is here. A line that is whole stays: a fold may have
// seen it, and its seq is never used again.
func TestAFullDiskTakesTheLineAlone(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	g.journal.allocated = g.journal.size
	require.NoError(t, g.journal.file.Truncate(g.journal.size))
	full := 0
	m.before = func(c vfs.Call) vfs.Fault {
		require.NotEqual(t, "truncate", c.Op)
		if c.Op == "write" {
			full++
			return vfs.Fault{Err: syscall.ENOSPC, Short: true}
		}
		return vfs.Fault{}
	}
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.Equal(t, 1, full)
	require.EqualValues(t, g.journal.allocated, len(m.sidecarOf(g)))
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "write" {
			return vfs.Fault{Err: syscall.ENOSPC, Short: true}
		}
		return vfs.Fault{}
	}
	require.ErrorIs(t, g.Journal(t.Context(), incr("/n")), syscall.ENOSPC)
	require.EqualValues(t, g.journal.size, len(m.sidecarOf(g)), "cut back")
	require.Contains(t, m.recovered(), "2")
}

// Zeros are where nothing was written yet. A line that is torn among them was never acknowledged; what is valid behind it
// was, so that something is damaged.
func TestZerosInASidecar(t *testing.T) {
	raw := stranger(t, header{}, 4)
	lines := bytes.SplitAfter(raw, []byte("\n"))
	head, body := lines[0], lines[1:5]
	zeros := func(n int) []byte { return make([]byte, n) }
	for _, behind := range []int{1, 511, 4096, 10000} {
		for end := len(head); end <= len(raw); end++ {
			r, err := parseJournal(append(bytes.Clone(raw[:end]), zeros(behind)...), 0)
			require.NoError(t, err)
			require.Len(t, r.lines, bytes.Count(raw[:end], []byte("\n"))-1)
			require.Empty(t, r.damage, "cut at %d", end)
		}
	}
	last := body[3]
	for lost := range len(last) { // its beginning did not reach the disk
		torn := append(append(bytes.Clone(raw[:len(raw)-len(last)]), zeros(lost)...), last[lost:]...)
		r, err := parseJournal(append(torn, zeros(100)...), 0)
		require.NoError(t, err)
		require.Len(t, r.lines, 3+bool2int(lost == 0))
		require.Empty(t, r.damage)
	}
	for gone := range 3 { // a sector of a line in front of others
		for _, whole := range []bool{true, false} {
			hole := bytes.Clone(bytes.Join(body, nil))
			from := len(bytes.Join(body[:gone], nil))
			n := len(body[gone])
			if !whole {
				from, n = from+n/2, n/2 // with its end
			}
			copy(hole[from:from+n], zeros(n))
			r, err := parseJournal(append(append(bytes.Clone(head), hole...), zeros(100)...), 0)
			require.NoError(t, err)
			require.Len(t, r.lines, gone)
			require.NotEmpty(t, r.damage, "line %d, whole %v", gone, whole)

			// What was folded is not missed. Nobody synced it, and a power cut took it.
			for watermark := range uint64(5) {
				r, err := parseJournal(append(append(bytes.Clone(head), hole...), zeros(100)...), watermark)
				require.NoError(t, err)
				if watermark <= uint64(gone) {
					require.Len(t, r.lines, max(0, gone-int(watermark)))
					require.NotEmpty(t, r.damage, "line %d, whole %v, watermark %d", gone, whole, watermark)
					continue
				}
				require.Empty(t, r.damage, "line %d, whole %v, watermark %d", gone, whole, watermark)
				require.Len(t, r.lines, 4-int(watermark))
			}
		}
	}
}

func bool2int(b bool) int {
	if b {
		return 1
	}
	return 0
}

// overtaken is a sidecar whose owner writes while it is being read: of two new lines the first read sees the second one.
type overtaken struct {
	vfs.File
	hide  [][2]int64 // not seen by one read after the other
	reads int
}

func (f *overtaken) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if off == 0 && f.reads < len(f.hide) {
		for i := max(0, f.hide[f.reads][0]); i < min(int64(n), f.hide[f.reads][1]); i++ {
			p[i] = 0
		}
	}
	if off == 0 {
		f.reads++
	}
	return n, err
}

func TestAReadThatOvertakesItsWriterIsDoneAgain(t *testing.T) {
	raw := stranger(t, header{}, 6)
	at := []int64{0}
	for i, c := range raw {
		if c == '\n' {
			at = append(at, int64(i+1))
		}
	}
	m := used(t, "{}")
	m.plant(strangerID, append(bytes.Clone(raw), make([]byte, 1000)...))
	dir, err := m.mem.OpenDir(guardOfFile + "/" + pendingName)
	require.NoError(t, err)
	file, err := dir.OpenFile(strangerID, os.O_RDWR, 0)
	require.NoError(t, err)
	r, _, _, err := readJournalAbove(&overtaken{File: file, hide: [][2]int64{{at[2], at[3]}, {at[4], at[5]}}}, 0, nil)
	require.NoError(t, err)
	require.Empty(t, r.damage)
	require.Len(t, r.lines, 6)
	always := [2]int64{at[3], at[4]}
	damaged := &overtaken{File: file, hide: [][2]int64{always, always, always, always}}
	r, _, _, err = readJournalAbove(damaged, 0, nil)
	require.NoError(t, err)
	require.NotEmpty(t, r.damage)
	require.Len(t, r.lines, 2)
	require.Equal(t, 2, damaged.reads)
}

// A process that folds again and again reads what is used of a sidecar, and goes on where that ended.
func TestWhatIsUsedOfASidecarIsRead(t *testing.T) {
	for _, used := range []int{0, 1, 100, 2<<10 - 1, 2 << 10, 2<<10 + 1, 50_000} {
		m := newMachine(t, "{}")
		dir, err := m.mem.OpenDir(machineDir)
		require.NoError(t, err)
		file, err := dir.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		require.NoError(t, err)
		content := append([]byte("before"), strings.Repeat("x", used)...)
		size := int64(len(content) + 40_000)
		require.NoError(t, writeWhole(file, append(bytes.Clone(content), make([]byte, 40_000)...), 0))
		got, err := readUsed(file, 6, size, nil)
		require.NoError(t, err)
		require.Equal(t, string(content[6:]), string(got))
		require.NoError(t, file.Truncate(int64(len(content))))
		got, err = readUsed(file, 6, int64(len(content)), got)
		require.NoError(t, err)
		require.Equal(t, string(content[6:]), string(got))
	}
}
