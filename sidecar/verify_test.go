package sidecar

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// ward is a target on disk with everything that verify looks at: versions, pending changes of a dead process, a conflict
// log and a refused change.
type ward struct {
	*testing.T
	dir, target, guard string
}

func newWard(t *testing.T) *ward {
	w := &ward{T: t, dir: t.TempDir()}
	w.target = filepath.Join(w.dir, "a b.json")
	w.guard = filepath.Join(w.dir, ".a b.json.guard")
	require.NoError(t, os.WriteFile(w.target, []byte(`{"n": 0, "text": "x", "pad": "0123456789"}`), 0o644))
	g := w.open()
	for range 4 {
		w.incr(g)
	}
	require.NoError(t, g.Journal(t.Context(), merge.Op{Kind: merge.OpAppend, At: "/n", Value: merge.Raw("1")}))
	_, err := g.Flush(t.Context()) // refused
	require.NoError(t, err)
	require.NoError(t, g.Close())
	return w
}

func (w *ward) open() *Guard {
	g, err := Open(w.target, Options{History: &History{Keep: 10}, Timeout: -1})
	require.NoError(w, err)
	return g
}

func (w *ward) incr(g *Guard) {
	_, err := g.Apply(w.Context(), merge.Op{Kind: merge.OpIncr, At: "/n", Value: merge.Raw("1")})
	require.NoError(w, err)
}

// pending leaves n changes of a process that is dead.
func (w *ward) pending(n int) {
	g := w.open()
	defer g.parent.Close()
	for range n {
		_, err := g.keepPending([]merge.Op{{Kind: merge.OpIncr, At: "/n", Value: merge.Raw("1")}}, true)
		require.NoError(w, err)
	}
	require.NoError(w, g.journal.close(false)) // as its end does
	g.store.close()
}

func (w *ward) verify(repair bool) []Finding {
	g := w.open()
	defer g.Close()
	findings, err := g.Verify(w.Context(), repair)
	require.NoError(w, err)
	return findings
}

// bad lists what is not as it should be.
func bad(findings []Finding) (list []Finding) {
	for _, f := range findings {
		if !f.OK {
			list = append(list, f)
		}
	}
	return list
}

func (w *ward) flip(path string, at int) {
	raw, err := os.ReadFile(path)
	require.NoError(w, err)
	if at < 0 {
		at += len(raw)
	}
	raw[at] ^= 1
	require.NoError(w, os.WriteFile(path, raw, 0o644))
}

func (w *ward) newestCommit() (newest, older string) {
	g := w.open()
	defer g.Close()
	s, err := g.openStore(false)
	require.NoError(w, err)
	defer s.close()
	c, err := s.newestCommit()
	require.NoError(w, err)
	return filepath.Join(w.guard, commitName(c.Generation)), filepath.Join(w.guard, commitName(c.Generation+1))
}

func (w *ward) versions() []string {
	names, err := filepath.Glob(filepath.Join(w.guard, historyName, "0*"))
	require.NoError(w, err)
	require.NotEmpty(w, names)
	return names
}

// Each kind of damage is found, named, and, where that is safe, repaired; nothing that was acknowledged is lost or counted
// twice on the way.
func TestVerifyFindsEachKindOfDamage(t *testing.T) {
	for _, c := range []struct {
		name    string
		pending int
		damage  func(w *ward)
		check   string // of the finding; "": none
		says    string
		fine    string // what is said, and is no damage
		left    string // check of what a repair leaves
		n       string // in the target after the repair
		kept    string // pattern of what is in quarantine then
	}{
		{name: "nothing", n: "4"},
		{name: "target cut in half", damage: func(w *ward) { require.NoError(w, os.Truncate(w.target, 20)) },
			check: "target", says: "jsonguard restore", left: "target"},
		{name: "target cut in half, changes pending", pending: 2, damage: func(w *ward) { require.NoError(w, os.Truncate(w.target, 20)) },
			check: "target", says: "unexpected end", left: "target"},
		{name: "target emptied", damage: func(w *ward) { require.NoError(w, os.Truncate(w.target, 0)) },
			check: "target", says: "is empty; the last fold left", left: "target"},
		{name: "a bit of the target", damage: func(w *ward) {
			info, err := os.Stat(w.target)
			require.NoError(w, err)
			w.flip(w.target, 18)
			require.NoError(w, os.Chtimes(w.target, info.ModTime(), info.ModTime()))
		}, check: "target", says: "not those that were committed", left: "target"},
		{name: "target changed by somebody", damage: func(w *ward) {
			require.NoError(w, os.WriteFile(w.target, []byte(`{"n": 40}`), 0o644))
		}, check: "unguarded", says: "it belongs to", left: "unguarded", n: "40"},
		{name: "newest commit record", pending: 2, damage: func(w *ward) { newest, _ := w.newestCommit(); w.flip(newest, 9) },
			check: "commit", says: "is damaged, the newest valid one is", n: "6"},
		{name: "newest commit record gone", pending: 2, damage: func(w *ward) { newest, _ := w.newestCommit(); require.NoError(w, os.Remove(newest)) },
			check: "commit", says: "is damaged, the newest valid one is", n: "6"},
		{name: "older commit record", pending: 2, damage: func(w *ward) { _, older := w.newestCommit(); w.flip(older, 9) },
			fine: "the older of the two", n: "6"},
		{name: "older commit record gone", damage: func(w *ward) { _, older := w.newestCommit(); require.NoError(w, os.Remove(older)) },
			fine: "the older of the two", n: "4"},
		{name: "a torn line of the index", damage: func(w *ward) {
			index := filepath.Join(w.guard, historyName, indexName)
			info, err := os.Stat(index)
			require.NoError(w, err)
			require.NoError(w, os.Truncate(index, info.Size()-20)) // as a full disk or a power cut leaves it
		}, n: "4"},
		{name: "both commit records gone", damage: func(w *ward) {
			a, b := w.newestCommit()
			require.NoError(w, os.Remove(a))
			require.NoError(w, os.Remove(b))
		},
			check: "commit", says: "no commit record", n: "4"},
		{name: "both commit records gone, changes pending", pending: 2, damage: func(w *ward) {
			a, b := w.newestCommit()
			require.NoError(w, os.Remove(a))
			require.NoError(w, os.Remove(b))
		}, check: "commit", says: "no commit record", n: "4", kept: "*.uncertain"},
		{name: "everything that says how far it was", pending: 2, damage: func(w *ward) {
			a, b := w.newestCommit()
			w.flip(a, 9)
			w.flip(b, 9)
			w.flip(filepath.Join(w.guard, settledName), 9)
		}, check: "commit", says: "no valid commit record", n: "4", kept: "*.uncertain"},
		{name: "settled", pending: 2, damage: func(w *ward) { w.flip(filepath.Join(w.guard, settledName), 9) }, n: "6"},
		{name: "a sidecar", pending: 3, damage: func(w *ward) {
			names, err := filepath.Glob(filepath.Join(w.guard, pendingName, "*"))
			require.NoError(w, err)
			require.Len(w, names, 1)
			raw, err := os.ReadFile(names[0])
			require.NoError(w, err)
			w.flip(names[0], bytes.Index(raw, []byte(`"seq":2`))) // there are two good ones around it
		}, check: "sidecar", says: "checksum", n: "5", kept: "*.damaged"},
		{name: "the header of a sidecar", pending: 1, damage: func(w *ward) {
			names, err := filepath.Glob(filepath.Join(w.guard, pendingName, "*"))
			require.NoError(w, err)
			w.flip(names[0], 20)
		}, check: "sidecar", says: "header", n: "4", kept: "*.damaged"},
		{name: "a version", damage: func(w *ward) { w.flip(w.versions()[1], 5) },
			check: "history", says: "is not what it was", n: "4", kept: "0*.json.damaged"},
		{name: "a version cut short", damage: func(w *ward) { require.NoError(w, os.Truncate(w.versions()[0], 5)) },
			check: "history", says: "is not what it was", n: "4", kept: "0*.json.damaged"},
		{name: "a version gone from the middle", damage: func(w *ward) { require.NoError(w, os.Remove(w.versions()[2])) },
			check: "history", says: "is missing", n: "4"},
		{name: "the index of versions", damage: func(w *ward) { w.flip(filepath.Join(w.guard, historyName, indexName), 30) },
			check: "history", says: "1 of 4 lines", n: "4"},
		{name: "the index gone", damage: func(w *ward) { require.NoError(w, os.Remove(filepath.Join(w.guard, historyName, indexName))) }, n: "4"},
		{name: "the conflict log", damage: func(w *ward) { w.flip(filepath.Join(w.guard, conflictsName), 0) },
			check: "conflicts", says: "1 of 1 lines", n: "4", kept: "conflicts.jsonl.damaged"},
		{name: "a record in quarantine", damage: func(w *ward) {
			names, err := filepath.Glob(filepath.Join(w.guard, quarantineName, "*.json"))
			require.NoError(w, err)
			require.Len(w, names, 1)
			w.flip(names[0], 0)
		}, check: "quarantine", says: "cannot be read", n: "4", kept: "*.json.damaged"},
		{name: "a file of somebody else", damage: func(w *ward) { require.NoError(w, os.WriteFile(filepath.Join(w.guard, "notes.txt"), nil, 0o644)) },
			check: "foreign", says: "left alone", left: "foreign", n: "4"},
		{name: "a file of somebody else among the versions", damage: func(w *ward) {
			require.NoError(w, os.WriteFile(filepath.Join(w.guard, historyName, "1.json"), nil, 0o644))
		}, check: "foreign", says: "left alone", left: "foreign", n: "4"},
		{name: "the board", pending: 1, damage: func(w *ward) { require.NoError(w, os.WriteFile(filepath.Join(w.guard, boardName), []byte("x"), 0o644)) }, n: "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard(t)
			if c.pending > 0 {
				w.pending(c.pending)
			}
			if c.damage != nil {
				c.damage(w)
			}
			all := w.verify(false)
			found := bad(all)
			if c.fine != "" {
				require.True(t, slices.ContainsFunc(all, func(f Finding) bool { return strings.Contains(f.Detail, c.fine) }), "%+v", all)
				require.True(t, slices.ContainsFunc(w.verify(true), func(f Finding) bool { return f.Repaired && f.Check == "commit" }))
			}
			if c.check == "" {
				require.Empty(t, found)
			} else {
				require.NotEmpty(t, found)
				require.Equal(t, c.check, found[0].Check, "%+v", found)
				require.Contains(t, found[0].Detail, c.says)
			}
			before, err := os.ReadFile(w.target)
			require.NoError(t, err)

			after := w.verify(true)
			left := bad(after)
			if c.left == "" {
				require.Empty(t, left)
			} else {
				require.Equal(t, c.left, left[0].Check, "%+v", left)
			}
			content, err := os.ReadFile(w.target)
			require.NoError(t, err)
			if c.n == "" {
				require.Equal(t, string(before), string(content), "a damaged target is for restore")
				w.restoreLast(c.pending)
				return
			}
			d, err := merge.Parse(content, merge.JSON)
			require.NoError(t, err)
			n, err := d.Get(merge.Pointer{"n"})
			require.NoError(t, err)
			require.Equal(t, c.n, string(n))
			if c.kept != "" {
				kept, err := filepath.Glob(filepath.Join(w.guard, quarantineName, c.kept))
				require.NoError(t, err)
				require.NotEmpty(t, kept, "whole, in quarantine")
			}
			require.Empty(t, bad(w.verify(false))[len(left):], "it stays repaired")
			w.incr(w.open()) // life goes on
		})
	}
}

// restoreLast brings the last good version back; what is pending comes on top.
func (w *ward) restoreLast(pending int) {
	g := w.open()
	defer g.Close()
	v, ok := g.LastGood(w.Context())
	require.True(w, ok)
	torn, err := os.ReadFile(w.target)
	require.NoError(w, err)
	result, err := g.Restore(w.Context(), v, "")
	require.NoError(w, err)
	content, err := g.Read(w.Context())
	require.NoError(w, err)
	require.Contains(w, string(content), `{"n": `+string(rune('3'+pending)), "three of four changes were replaced, and so are kept")
	require.Empty(w, bad(w.verify(false)))
	versions, err := g.History(w.Context())
	require.NoError(w, err)
	damaged, err := VersionOf(versions, result.Generation-1)
	require.NoError(w, err)
	kept, err := g.Content(w.Context(), damaged)
	require.NoError(w, err)
	require.Equal(w, string(torn), string(kept), "the damaged one is kept")
}

// A live process that holds pending changes is not robbed of them, where nobody knows what is in the target.
func TestRepairLeavesTheLivingAlone(t *testing.T) {
	w := newWard(t)
	g := w.open()
	_, err := g.keepPending([]merge.Op{{Kind: merge.OpIncr, At: "/n", Value: merge.Raw("1")}}, true)
	require.NoError(t, err)
	a, b := filepath.Join(w.guard, "commit.0"), filepath.Join(w.guard, "commit.1")
	require.NoError(t, os.Remove(a))
	require.NoError(t, os.Remove(b))
	h := w.open()
	defer h.Close()
	_, err = h.Verify(t.Context(), true)
	require.ErrorIs(t, err, ErrDamaged)
	require.Contains(t, err.Error(), "stop it, then repair again")
	names, err := os.ReadDir(filepath.Join(w.guard, pendingName))
	require.NoError(t, err)
	require.Len(t, names, 1)
}

// Verify reads the file itself: a change in place that leaves size and time as they were is seen in a log, too.
func TestVerifyReadsLogsWhole(t *testing.T) {
	target := filepath.Join(t.TempDir(), "log.jsonl")
	g, err := Open(target, Options{History: &History{}})
	require.NoError(t, err)
	defer g.Close()
	for range 3 {
		_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpAppend, Value: merge.Raw(`{"id":1}`)})
		require.NoError(t, err)
	}
	findings, err := g.Verify(t.Context(), false)
	require.NoError(t, err)
	require.Empty(t, bad(findings))
	raw, err := os.ReadFile(target)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(target, bytes.Replace(raw, []byte("1"), []byte("7"), 1), 0o644))
	findings, err = g.Verify(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, "target", bad(findings)[0].Check)
	versions, err := g.History(context.Background())
	require.NoError(t, err)
	_, err = g.Content(t.Context(), versions[1])
	require.ErrorIs(t, err, ErrNoVersion, "the beginning is not what it was")
	require.True(t, strings.Contains(err.Error(), "have been changed since"), err)
}
