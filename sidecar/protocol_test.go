package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// The tests here hold the code to single steps of tests/model, each named as the variant there that leaves it out.

// "an unsettled commit is synced, not written again": go test ./tests/model -run TestWeakened -v prints these 52 steps.
func TestARecordWhoseSyncFailedIsWrittenAgain(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	_, err := g.Flush(t.Context())
	require.NoError(t, err)
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	m.before = failing("sync", "commit.1", errDisk)
	_, err = g.Flush(t.Context())
	require.ErrorIs(t, err, errDisk)

	cut := false
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "sync" && strings.HasSuffix(c.Path, "commit.0") { // its predecessor is in commit.1
			cut = true
			m.afterPowerCut(func(content string) { require.Equal(t, `{"n":2}`, content) })
		}
		return vfs.Fault{}
	}
	_, err = m.process(Options{}).Flush(t.Context())
	require.NoError(t, err)
	require.True(t, cut)
	require.Equal(t, `{"n":2}`, m.content())
}

// "a rename whose sync failed counts as synced at the next try"
func TestADirectoryWhoseSyncFailedIsGivenAnEntry(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	m.mem.DirsLie = true
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	renamed := false
	m.before = func(c vfs.Call) vfs.Fault {
		renamed = renamed || c.Op == "rename" && c.Path == machineDir+"/"+machineFile
		if renamed && c.Op == "sync" && c.Path == machineDir {
			return vfs.Fault{Err: errDisk}
		}
		return vfs.Fault{}
	}
	_, err := g.Flush(t.Context())
	require.ErrorIs(t, err, ErrNotDurable)
	m.before = nil

	_, err = m.process(Options{}).Flush(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, m.content())
	m.afterPowerCut(func(content string) { require.Equal(t, `{"n":1}`, content) })
}

// "a watermark is dropped for a sidecar that vanished while it was listed"
func TestASidecarThatVanishesWhileItIsListed(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	leaving := m.process(Options{})
	require.NoError(t, leaving.Journal(t.Context(), incr("/n")))
	id := leaving.journal.id
	folder := m.process(Options{})
	_, err := folder.Flush(t.Context())
	require.NoError(t, err)

	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "open" && strings.HasSuffix(c.Path, id) {
			m.before = nil
			require.NoError(t, leaving.Close())
		}
		return vfs.Fault{}
	}
	_, err = folder.Update(t.Context(), func(d *merge.Document) error { return d.Do(incr("/u")) })
	require.NoError(t, err)
	require.Nil(t, m.before, "it was seen leaving")
	m.afterPowerCut(func(content string) { require.JSONEq(t, `{"n":1,"u":1}`, content) })
}

// "a watermark is dropped for a sidecar that cannot be opened"
func TestWhatCannotBeReadKeepsItsWatermark(t *testing.T) {
	for op, reason := range map[string]error{"open": syscall.EMFILE, "read": errDisk} {
		t.Run(op, func(t *testing.T) {
			m := newMachine(t, `{"n":0}`)
			owner := m.process(Options{})
			require.NoError(t, owner.Journal(t.Context(), incr("/n")))
			var warned []string
			folder := m.process(Options{Warn: func(w string) { warned = append(warned, w) }})
			_, err := folder.Flush(t.Context())
			require.NoError(t, err)

			m.before = failing(op, owner.journal.id, reason)
			_, err = folder.Update(t.Context(), func(d *merge.Document) error { return d.Do(incr("/u")) })
			require.NoError(t, err, "one unreadable sidecar stops nobody")
			require.Contains(t, strings.Join(warned, "\n"), owner.journal.id)
			require.JSONEq(t, `{"n":1,"u":1}`, m.recovered())
		})
	}
}

func TestWhatIsNoSidecarKeepsNobodyUp(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	dir, err := m.mem.OpenDir(guardOfFile + "/" + pendingName)
	require.NoError(t, err)
	require.NoError(t, dir.Mkdir("a.1.directory", 0o700))
	_, err = g.Flush(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, m.content())
}

// "the hash is believed before the temp"
func TestAnOutsiderWhoWritesTheVeryBytesIsAnOutsider(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	m.before = failing("rename", machineFile, errDisk) // the fold is stopped between its record and its rename
	_, err := g.Flush(t.Context())
	require.ErrorIs(t, err, errDisk)
	m.replace(`{"n":1}`) // counted by somebody else
	require.Equal(t, `{"n":2}`, m.recovered())
}

// A target that was copied together with its guard has new inodes.
func TestACopiedTargetIsToldByItsContent(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	m.before = failing("write", settledName, errDisk)
	_, err := g.Flush(t.Context())
	require.NoError(t, err, "it is a hint")
	m.replace(m.content())
	require.Equal(t, `{"n":1}`, m.recovered())
}

// What the model calls contrary: it never comes from the protocol, so it is damage.
func TestSettledAheadOfTheRecordsIsDamage(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	_, err := g.Flush(t.Context())
	require.NoError(t, err)
	last, err := g.store.newestCommit()
	require.NoError(t, err)
	require.NoError(t, g.store.overwrite(commitName(last.Generation), []byte("bit rot\n"), true))

	_, err = m.process(Options{}).Update(t.Context(), func(d *merge.Document) error { return d.Do(incr("/u")) })
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "generation 2 was settled")
	require.Equal(t, `{"n":1}`, m.content(), "the older record would have counted again")
}

// A header that a power cut left of a process that promised nothing is told from damage.
func TestUnbornSidecars(t *testing.T) {
	const header = `{"jsonguard":1,"id":"x","crc":"00000000"}` + "\n"
	for name, c := range map[string]struct {
		content string
		stays   bool
	}{
		"empty":                    {"", false},
		"zeros":                    {strings.Repeat("\x00", 300), false},
		"half a header":            {header[:20], false},
		"a torn header":            {header, false},
		"a line behind it":         {header + `{"seq":1}` + "\n", true},
		"a line behind zeros":      {strings.Repeat("\x00", 100) + "\n" + `{"seq":1}` + "\n", true},
		"the beginning of a line":  {header + `{"se`, true},
		"zeros behind half of one": {header[:20] + strings.Repeat("\x00", 100), false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, `{"n":0}`)
			g := m.process(Options{})
			require.NoError(t, g.Journal(t.Context(), incr("/n")))
			f, err := g.store.pending.OpenFile("host.1.dead", os.O_RDWR|os.O_CREATE, 0o600)
			require.NoError(t, err)
			_, err = f.Write([]byte(c.content))
			require.NoError(t, errors.Join(err, f.Close()))
			_, err = g.Flush(t.Context())
			require.NoError(t, err)
			_, err = g.store.pending.Stat("host.1.dead")
			require.Equal(t, !c.stays, isMissing(err))
		})
	}
}

// contended has g Apply while somebody else has the turn, and returns what it comes to once meanwhile has run.
func contended(m *machine, g *Guard, meanwhile func()) (Result, error) {
	require.True(m, g.turn.try())
	type outcome struct {
		Result
		error
	}
	done := make(chan outcome)
	go func() {
		r, err := g.Apply(context.Background(), incr("/n"))
		done <- outcome{r, err}
	}()
	require.Eventually(m, func() bool { return g.lastKept().seq > 0 }, time.Minute, time.Millisecond)
	meanwhile()
	g.turn.give()
	o := <-done
	return o.Result, o.error
}

// "a waiter that finds its change folded writes nothing and waits for no fsync"
func TestAWaiterWhoseChangeIsFoldedWritesNothing(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	waiter, folder := m.process(Options{Timeout: time.Minute}), m.process(Options{})
	var wrote []string
	r, err := contended(m, waiter, func() {
		_, err := folder.Flush(t.Context())
		require.NoError(t, err)
		m.before = func(c vfs.Call) vfs.Fault {
			if c.Changes() {
				wrote = append(wrote, c.Op+" "+c.Path)
			}
			return vfs.Fault{}
		}
	})
	require.NoError(t, err)
	require.True(t, r.Changed)
	require.Equal(t, `{"n":1}`, m.content())
	require.Equal(t, []string{"create /data/n.json.lock"}, wrote, "opened, that is")
}

// "a waiter whose sidecar could not be read is acknowledged by its own fold"
func TestAWaiterWhoseSidecarCannotBeReadIsNotAcknowledged(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{Timeout: time.Minute})
	_, err := contended(m, g, func() { m.before = failing("open", g.lastKept().sidecar, syscall.EMFILE) })
	require.ErrorIs(t, err, ErrPending)
	require.Equal(t, `{"n":0}`, m.content())
	m.afterPowerCut(func(content string) { require.Equal(t, `{"n":1}`, content) })
}

// "a change is said to be kept pending before its sidecar is synced", "… before pending/ is synced"
func TestWhatIsKeptPendingIsOnDisk(t *testing.T) {
	for name, fault := range map[string]func(vfs.Call) vfs.Fault{
		"no lock":              failing("create", ".lock", lock.ErrTimeout),
		"an unreadable target": failing("read", machineFile, errDisk),
		"a full disk":          failing("create", tempSuffix, syscall.ENOSPC),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, `{"n":0}`)
			g := m.process(Options{Timeout: time.Minute})
			_, err := contended(m, g, func() { m.before = fault })
			require.ErrorIs(t, err, ErrPending)
			m.afterPowerCut(func(content string) { require.Equal(t, `{"n":1}`, content) })
		})
	}
}

func TestWhatIsKeptPendingInAnUnparsableTargetSaysSo(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{Timeout: time.Minute})
	_, err := contended(m, g, func() { m.replace(`{"n":`) })
	var syntax *merge.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.ErrorIs(t, err, ErrPending)
	require.Equal(t, `{"n":`, m.content())
	m.replace(`{"n":5}`)
	require.Equal(t, `{"n":6}`, m.recovered())
}

// A sidecar whose fsync failed is given up: a later fsync would say nothing about its pages.
func TestASidecarWhoseSyncFailedIsGivenUp(t *testing.T) {
	t.Run("journaled", func(t *testing.T) {
		m := newMachine(t, `{"n":0}`)
		g := m.process(Options{})
		require.NoError(t, g.Journal(t.Context(), incr("/before")))
		first := g.lastKept().sidecar
		m.before = failing("sync", first, errDisk)
		err := g.Journal(t.Context(), incr("/n"))
		require.ErrorIs(t, err, ErrNotDurable)
		m.before = nil
		require.NoError(t, g.Journal(t.Context(), incr("/after")))
		require.NotEqual(t, first, g.lastKept().sidecar)
		m.afterPowerCut(func(content string) { require.Contains(t, content, `"after":1`) })
	})
	t.Run("kept pending", func(t *testing.T) {
		m := newMachine(t, `{"n":0}`)
		g := m.process(Options{Timeout: time.Minute})
		var first string
		_, err := contended(m, g, func() {
			first = g.lastKept().sidecar
			lost := failing("sync", first, errDisk)
			m.before = func(c vfs.Call) vfs.Fault {
				if c.Op == "create" && strings.HasSuffix(c.Path, ".lock") {
					return vfs.Fault{Err: lock.ErrTimeout}
				}
				return lost(c)
			}
		})
		require.ErrorIs(t, err, ErrNotDurable)
		require.NotErrorIs(t, err, ErrPending)
		m.before = nil
		require.NoError(t, g.Journal(t.Context(), incr("/after")))
		require.NotEqual(t, first, g.lastKept().sidecar)
	})
}

// The way to pending/ is made by one process and used by another before it is on disk.
func TestAJournaledChangeIsOnDiskWithTheWayToIt(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	first, second := m.process(Options{}), m.process(Options{})
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "sync" && c.Path == machineDir { // the last step of making the guard directory
			m.before = nil
			require.NoError(t, second.Journal(t.Context(), incr("/n")))
			m.afterPowerCut(func(content string) { require.Equal(t, `{"n":1}`, content) })
		}
		return vfs.Fault{}
	}
	require.NoError(t, first.Journal(t.Context(), incr("/n")))
	require.Nil(t, m.before, "it was made")
}

func TestAGuardDirectoryThatIsCleanedAwayIsMadeAgain(t *testing.T) {
	for name, use := range map[string]func(g *Guard) error{
		"journal": func(g *Guard) error { return g.Journal(context.Background(), incr("/n")) },
		"update": func(g *Guard) error {
			_, err := g.Update(context.Background(), func(d *merge.Document) error { return d.Do(incr("/n")) })
			return err
		},
		"view": func(g *Guard) error {
			_, j, err := g.newJournal(false)
			if err == nil {
				_, err = j.append(line{Ops: encodeOps([]merge.Op{incr("/n")})}, true)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, `{"n":0}`)
			g := m.process(Options{})
			_, err := g.openedStore(true)
			require.NoError(t, err)
			removed, err := m.process(Options{}).Clean(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, removed)
			require.NoError(t, use(g))
			require.Equal(t, `{"n":1}`, m.recovered())
		})
	}
}

// Whoever is half-way into a guard directory when it is cleaned away makes another.
func TestCleanWhileAnotherMakesTheGuardDirectory(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	_, err := g.openedStore(true)
	require.NoError(t, err)
	late := m.process(Options{})
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "remove" && strings.HasSuffix(c.Path, "commit.0") {
			m.before = nil
			require.NoError(t, late.Journal(t.Context(), incr("/n")))
		}
		return vfs.Fault{}
	}
	_, err = g.Clean(t.Context())
	require.NoError(t, err)
	require.Nil(t, m.before, "it was cleaned away")
	require.Equal(t, `{"n":1}`, m.recovered())
}

// A guard directory that was moved away is folded by nobody: what is put into it is not acknowledged.
func TestAGuardDirectoryThatIsMovedAway(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(t, err)
	require.NoError(t, dir.Rename("."+machineFile+".guard", "elsewhere"))
	require.ErrorIs(t, g.Journal(t.Context(), incr("/n")), ErrDamaged)
	require.NoError(t, g.Journal(t.Context(), incr("/after")))
	require.JSONEq(t, `{"n":0,"after":1}`, m.recovered())
}

func TestOperationsThatCannotBeUnderstoodAreNotJournaled(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	bad := merge.Op{Kind: merge.OpSet, At: "/n", Value: []byte("{")}
	require.Error(t, g.Journal(t.Context(), bad))
	_, err := g.Apply(t.Context(), bad)
	require.Error(t, err)
	require.Nil(t, g.journal)
}

func TestAPanicInUpdateGivesTheLocksBack(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.PanicsWithValue(t, "mine", func() {
		_, _ = g.Update(t.Context(), func(*merge.Document) error { panic("mine") })
	})
	_, err := m.process(Options{}).Update(t.Context(), func(d *merge.Document) error { return d.Do(incr("/u")) })
	require.NoError(t, err)
	_, err = g.Update(t.Context(), func(d *merge.Document) error { return d.Do(incr("/u")) })
	require.NoError(t, err)
	require.JSONEq(t, `{"n":1,"u":2}`, m.content())
}

func TestUpdateRunsAgainWhenTheTargetWasReplaced(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	runs := 0
	_, err := g.Update(t.Context(), func(d *merge.Document) error {
		if runs++; runs == 1 {
			m.replace(`{"n":5}`)
		}
		return d.Do(incr("/n"))
	})
	require.NoError(t, err)
	require.Equal(t, 2, runs)
	require.Equal(t, `{"n":6}`, m.content())
}

func TestCloseFoldsWhatCanBeFoldedAtOnce(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.NoError(t, g.Close())
	require.Equal(t, `{"n":1}`, m.content())

	holder := m.process(Options{})
	held, err := holder.lockAll(t.Context(), false, holder.deadline())
	require.NoError(t, err)
	g = m.process(Options{Timeout: time.Hour})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.NoError(t, g.Close())
	require.Equal(t, `{"n":1}`, m.content())
	held.release()
	require.Equal(t, `{"n":2}`, m.recovered())
}

// One fold serves everybody who waits for the lock meanwhile.
func TestOneFoldServesAllWhoWait(t *testing.T) {
	const waiters = 17
	target := t.TempDir() + "/n.json"
	require.NoError(t, os.WriteFile(target, []byte(`{"n":0}`), 0o600))
	held, err := lock.Acquire(t.Context(), target)
	require.NoError(t, err)
	done := make(chan error)
	for range waiters {
		g, err := Open(target, Options{Timeout: time.Minute})
		require.NoError(t, err)
		go func() {
			_, err := g.Apply(context.Background(), incr("/n"))
			done <- errors.Join(err, g.Close())
		}()
	}
	looker, err := Open(target, Options{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		st, err := looker.Status(t.Context())
		return err == nil && st.Pending == waiters
	}, time.Minute, time.Millisecond)
	require.NoError(t, held.Release())
	for range waiters {
		require.NoError(t, <-done)
	}
	content, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(`{"n":%d}`, waiters), string(content))
	st, err := looker.Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, st.Generation, "the guard directory begins with 1")
}

// A journaled change is acknowledged by the fsync of its own sidecar, whoever holds the lock, also while an earlier one
// waits for it in the background.
func TestAJournaledChangeWaitsForNoLock(t *testing.T) {
	target := t.TempDir() + "/n.json"
	require.NoError(t, os.WriteFile(target, []byte(`{"n":0}`), 0o600))
	held, err := lock.Acquire(t.Context(), target)
	require.NoError(t, err)
	g, err := Open(target, Options{Timeout: time.Hour})
	require.NoError(t, err)
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.Eventually(t, func() bool { return len(g.turn) == 1 }, time.Minute, time.Millisecond, "it folds in the background")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := g.Journal(ctx, incr("/n"))
		_, rerr := g.Read(ctx)
		done <- errors.Join(err, rerr)
	}()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-ctx.Done():
		require.Fail(t, "it waited for somebody else's lock")
	}
	require.NoError(t, held.Release())
	require.Eventually(t, func() bool {
		content, err := os.ReadFile(target)
		return err == nil && string(content) == `{"n":2}`
	}, time.Minute, time.Millisecond)
	require.NoError(t, g.Close())
}
