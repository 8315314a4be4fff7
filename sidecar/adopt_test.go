package sidecar

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// lostView is a machine on which a view of a JSON Lines file was submitted once, and given other content since.
func lostView(t *testing.T, content string, bootless bool) *machine {
	lines := merge.Lines
	m := newMachine(t, "1\n")
	m.format, m.bootless = &lines, bootless
	v, err := m.process(Options{}).View(context.Background())
	require.NoError(t, err)
	write := func(content string) {
		dir, err := m.mem.OpenDir(strings.TrimSuffix(v.Path(), "/"+machineFile))
		require.NoError(t, err)
		f, err := dir.OpenFile(machineFile, os.O_RDWR|os.O_TRUNC, 0)
		require.NoError(t, err)
		_, err = f.Write([]byte(content))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	write("1\n2\n")
	_, err = v.Submit(context.Background())
	require.NoError(t, err)
	// Somebody else's line, so that the same change made again is seen.
	_, err = m.process(Options{}).Apply(context.Background(), merge.Op{Kind: merge.OpAppend, Value: merge.Raw("9")})
	require.NoError(t, err)
	write(content)
	m.killAll()
	return m
}

// killAll ends every process; what they wrote is in the page cache.
func (m *machine) killAll() { m.mem = m.mem.Clone() }

// A recovery writes down what a dead view holds and is stopped before that line is on disk. The next one folds it, and the
// power cut that follows takes the line, not the fold: the version is in the target all the same, and is not folded again.
func TestAFoldedVersionWhoseLineIsLost(t *testing.T) {
	for _, bootless := range []bool{false, true} {
		foldVersionWhoseLineIsLost(t, bootless)
	}
}

func foldVersionWhoseLineIsLost(t *testing.T, bootless bool) {
	m := lostView(t, "1\n2\n3\n", bootless)
	stop := func(c vfs.Call) vfs.Fault {
		if c.Op == "sync" && strings.HasPrefix(c.Path, guardOfFile+"/"+pendingName+"/") {
			panic(errDisk)
		}
		return vfs.Fault{}
	}
	m.before = stop
	require.Panics(t, func() { _, _, _ = m.process(Options{}).Recover(context.Background(), false) })
	m.killAll()
	m.recoverThroughPowerCuts(func(content string) {
		require.Contains(t, []string{"1\n2\n9\n", "1\n2\n9\n3\n"}, content) // nobody was told that 3 is safe
	})
}

// A program that was killed when it had emptied its copy to write it anew has added nothing; and what a power cut brings
// back of the copy is nothing that was added to the empty one.
func TestAnEmptiedCopyOfADeadProgram(t *testing.T) {
	m := lostView(t, "", false)
	m.recoverThroughPowerCuts(func(content string) { require.Equal(t, "1\n2\n9\n", content) })
}

// The same where what it wrote is the beginning of other content, which was not known to be on disk.
func TestARewrittenCopyOfADeadProgram(t *testing.T) {
	m := lostView(t, "4\n", false)
	m.recoverThroughPowerCuts(func(content string) {
		require.Contains(t, []string{"1\n2\n9\n", "1\n2\n9\n4\n", "1\n2\n4\n9\n"}, content)
	})
}
