package sidecar

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// A torn document is salvaged once, wherever who salvages is stopped, and whoever comes in between.
func TestSalvagedOnceWhereverItIsStopped(t *testing.T) {
	for name, stop := range map[string]func(vfs.Call) vfs.Fault{
		"before the document is renamed":     failing("rename", tornSuffixName+salvagedSuffix, errDisk),
		"before that is known to be on disk": failing("sync", "/"+quarantineName, errDisk),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, `{"l":[]}`)
			m.keepTorn("x", `{"l":[1],"cu`, `{"l":[]}`)
			m.before = stop
			_, _, err := m.process(Options{}).Recover(t.Context(), true)
			require.ErrorIs(t, err, errDisk)
			m.before = nil
			for range 2 { // the second one has forgotten what the first one folded
				g := m.process(Options{})
				_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpAppend, At: "/l", Value: []byte("2")})
				require.NoError(t, err)
				require.NoError(t, g.Close())
			}
			r := rand.New(rand.NewPCG(1, 2))
			for _, order := range []vfs.Order{vfs.AnyOrder, vfs.InOrder} {
				cuts := m.mem.Cuts(order)
				for range 200 {
					(&machine{T: t, mem: cuts.Sample(r), boots: "+"}).salvagedOnce()
				}
			}
			m.salvagedOnce()
		})
	}
}

// keepTorn puts a torn document into quarantine.
func (m *machine) keepTorn(id, torn, base string) {
	s, err := m.process(Options{}).openStore(true)
	require.NoError(m, err)
	require.NoError(m, s.keep(id+tornBaseSuffix, []byte(base)))
	require.NoError(m, s.keep(id+tornSuffixName, []byte(torn)))
	require.NoError(m, s.quarantine.Sync())
	s.close()
}

// salvagedOnce salvages twice, the second time when what the first one folded is forgotten.
func (m *machine) salvagedOnce() {
	for range 2 {
		g := m.process(Options{})
		_, _, err := g.Recover(m.Context(), true)
		require.NoError(m, err)
		require.NoError(m, g.Close())
		require.Equal(m, 1, strings.Count(m.content(), "1"), m.content())
	}
}

// A power cut may bring back what was known of a file that is held open before a part of it was taken, and it goes to quarantine as
// a whole. Whatever became of the part, salvage adds what both have once.
func TestSalvageOfAWholeWhosePartWasTaken(test *testing.T) {
	for _, kind := range []string{"lines", "rewrite", "document"} {
		for _, fate := range []string{"folded", "pending", "torn", "torn before", "folded, nothing is known of the whole"} {
			test.Run(kind+", part "+fate, func(test *testing.T) {
				target, before, first, second := "a.jsonl", "1\n", "1\n2\n", "1\n2\n3\n"
				if kind == "document" {
					target, before, first, second = "a.json", `{"l":[],"n":{}}`, `{"l":[2],"n":{"c":1}}`, `{"l":[2,3],"n":{"c":1}}`
				}
				t := newSessionTest(test, target, before)
				o := Options{Policy: &merge.Policy{Rules: []merge.Rule{{At: "/n/*", Merge: merge.Sum}}}}
				s, other := t.session(o), t.session(o)
				other.g.boot, other.reader.boot = "the next", "the next"
				var x *Scratch
				var f *os.File
				if kind == "lines" {
					x, f = t.createAppended(s, "1\n", "2\n")
				} else {
					x, f = t.create(s, first, before)
				}
				known := map[string][]byte{}
				for _, name := range append(x.about.Bases, x.n+aboutSuffix) {
					known[name] = must(os.ReadFile(filepath.Join(s.path, name)))
				}
				part := x.nextPart()
				if kind == "lines" {
					require.NoError(t, x.Appended(context.Background(), Writer{}, []byte("2\n")))
				} else {
					_, _, err := x.Submit(context.Background(), Writer{}, []byte(first), Bases{Versions: [][]byte{[]byte(before)}}, true)
					require.NoError(t, err)
				}
				_, err := f.WriteAt([]byte(second), 0)
				if kind == "lines" {
					_, err = f.WriteString("3\n")
				}
				require.NoError(t, err)
				if strings.HasPrefix(fate, "folded") {
					require.Equal(t, 1, t.fold(other).Folded)
				}
				for name, content := range known { // the power fails
					require.NoError(t, os.WriteFile(filepath.Join(s.path, name), content, 0o600))
				}
				whole := map[string][]byte{}
				switch {
				case strings.HasPrefix(fate, "torn"):
					for _, name := range must(filepath.Glob(filepath.Join(s.path, part+".*"))) {
						switch {
						case strings.Contains(name, baseSuffix):
							require.NoError(t, os.WriteFile(name, nil, 0o600))
						case kind == "lines" && strings.HasSuffix(name, scratchSuffix):
							require.NoError(t, os.Truncate(name, 3)) // "2"
						}
					}
				case strings.HasSuffix(fate, "nothing is known of the whole"):
					require.NoError(t, os.WriteFile(filepath.Join(s.path, x.n+aboutSuffix), nil, 0o600))
				}
				require.NoError(t, f.Close())
				kill(test, s)
				if fate == "torn before" {
					for _, name := range must(filepath.Glob(filepath.Join(s.path, x.n+".*"))) {
						whole[name] = must(os.ReadFile(name))
						require.NoError(t, os.Remove(name))
					}
					require.NoError(t, os.MkdirAll(s.path, 0o700))
					t.fold(other)
					require.NoError(t, os.MkdirAll(s.path, 0o700))
					for name, content := range whole {
						require.NoError(t, os.WriteFile(name, content, 0o600))
					}
				}
				for range 3 { // the last ones have forgotten the part
					t.fold(other)
				}
				for range 2 {
					g, err := Open(t.target, o)
					require.NoError(t, err)
					_, _, err = g.Recover(t.Context(), true)
					require.NoError(t, err)
					require.NoError(t, g.Close())
					require.Equal(t, second, t.content())
				}
			})
		}
	}
}

// The number of the last part that was folded is known as long as the file is there, also when all else that was folded then is
// forgotten.
func TestThePartOfAHeldFileIsRemembered(test *testing.T) {
	t := newSessionTest(test, "a.json", `{"l":[]}`)
	s, other := t.session(Options{}), t.session(Options{})
	x, f := t.create(s, `{"l":[1]}`, `{"l":[]}`)
	stale := map[string][]byte{}
	for _, name := range append(x.about.Bases, x.n+aboutSuffix) {
		stale[name] = must(os.ReadFile(filepath.Join(s.path, name)))
	}
	_, _, err := x.Submit(t.Context(), Writer{}, []byte(`{"l":[1]}`), Bases{Versions: [][]byte{[]byte(`{"l":[]}`)}}, true)
	require.NoError(t, err)
	require.Equal(t, 1, t.fold(other).Folded)
	other.g.forgetFrom, other.reader.forgetFrom = 1, 1
	before := `{"l":[1]}`
	for _, now := range []string{`{"l":[1,2]}`, `{"l":[1,2,3]}`, `{"l":[1,2,3,4]}`} {
		t.write(other, now, before)
		require.Equal(t, 1, t.fold(other).Folded)
		before = now
	}
	for name, content := range stale { // the power fails
		require.NoError(t, os.WriteFile(filepath.Join(s.path, name), content, 0o600))
	}
	require.NoError(t, f.Close())
	kill(test, s)
	other.g.boot, other.reader.boot = "the next", "the next"
	require.Len(t, t.fold(other).Torn, 1)
	t.salvaged(1)
	require.JSONEq(t, `{"l":[1,2,3,4]}`, t.content())
}

// salvaged salvages, and says that so many were.
func (t *sessionTest) salvaged(n int) {
	g, err := Open(t.target, Options{})
	require.NoError(t, err)
	_, all, err := g.Recover(t.Context(), true)
	require.NoError(t, err)
	require.Len(t, all, n)
	require.NoError(t, g.Close())
}

// A part that a power cut took is nowhere but in the whole, whose base has it.
func TestSalvageOfAWholeWhosePartIsLost(test *testing.T) {
	t := newSessionTest(test, "a.json", `{"l":[]}`)
	s, other := t.session(Options{}), t.session(Options{})
	x, f := t.create(s, `{"l":[1]}`, `{"l":[]}`)
	part := x.nextPart()
	_, _, err := x.Submit(t.Context(), Writer{}, []byte(`{"l":[1]}`), Bases{Versions: [][]byte{[]byte(`{"l":[]}`)}}, true)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(s.path, part+scratchSuffix)))
	require.NoError(t, f.Close())
	kill(test, s)
	other.g.boot, other.reader.boot = "the next", "the next"
	require.Len(t, t.fold(other).Torn, 1)
	t.salvaged(1)
	require.JSONEq(t, `{"l":[1]}`, t.content())
	t.salvaged(0)
}

// Who is killed when a torn version is in quarantine, and before it is gone from where it was, leaves it for the next one to put
// there again; a removal that could not be synced does, too, with the next power cut. By then the first one may have been salvaged.
func TestTornOnceMoreAfterItWasSalvaged(test *testing.T) {
	for _, by := range []string{"the policy, in the same fold", "somebody"} {
		test.Run(by, func(test *testing.T) {
			t := newSessionTest(test, "a.json", `{"l":[0]}`)
			s, other := t.session(Options{}), t.session(Options{})
			t.write(s, `{"l":[0,1],"cu`, `{"l":[0]}`)
			kill(test, s)
			left := map[string][]byte{}
			for _, name := range must(filepath.Glob(filepath.Join(s.path, "*"))) {
				left[name] = must(os.ReadFile(name))
			}
			require.Len(t, t.fold(other).Torn, 1)
			if by == "somebody" {
				t.salvaged(1)
			} else {
				require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(t.target), "jsonguard.json"), []byte(`{"torn":"additions"}`), 0o600))
			}
			require.NoError(t, os.MkdirAll(s.path, 0o700))
			for name, content := range left {
				require.NoError(t, os.WriteFile(name, content, 0o600))
			}
			for i := range 3 { // the first one is forgotten
				before := t.content()
				t.write(other, strings.Replace(before, "[", "["+strings.Repeat("2", i+2)+",", 1), before)
				t.fold(other)
			}
			g, err := Open(t.target, Options{})
			require.NoError(t, err)
			_, _, err = g.Recover(t.Context(), true)
			require.NoError(t, err)
			require.NoError(t, g.Close())
			require.Equal(t, 1, strings.Count(t.content(), "1"), t.content())
		})
	}
}

// Of lines whose base is not known only those are added that the file does not have, as often as it does not have them: in another order
// than there, they were added once more.
func TestSalvageOfLinesInAnotherOrder(t *testing.T) {
	for name, c := range map[string]struct {
		policy *merge.Policy
		before string
		torn   []string
		want   string
	}{
		"two that are like each other": {nil, "0\n", []string{"1\n2\n{", "2\n1\n3\n{"}, "0\n1\n2\n3\n"},
		"like the file":                {nil, "1\n2\n3\n", []string{"3\n1\n2\n{"}, "1\n2\n3\n"},
		"more than the file has":       {nil, "1\n", []string{"1\n2\n1\n{", "1\n2\n{"}, "1\n2\n1\n"},
		"like another record":          {nil, `{"id":1,"by":"a","ok":true}` + "\n", []string{`{"id":2,"by":"a","ok":true}` + "\n{"}, `{"id":1,"by":"a","ok":true}` + "\n" + `{"id":2,"by":"a","ok":true}` + "\n"},
		"no newline at the end":        {nil, "1", []string{"2\n1\n{"}, "1\n2\n"},
		"the policy knows a record again": {
			&merge.Policy{Rules: []merge.Rule{{At: "", Merge: merge.Keyed, Key: []string{"id"}}}},
			`{"id":1,"n":2}` + "\n", []string{`{"id":2}` + "\n" + `{"id":1,"n":1}` + "\n{"}, `{"id":1,"n":2}` + "\n" + `{"id":2}` + "\n",
		},
	} {
		t.Run(name, func(test *testing.T) {
			t := newSessionTest(test, "a.jsonl", c.before)
			g, err := Open(t.target, Options{Policy: c.policy})
			require.NoError(t, err)
			s, err := g.openStore(true)
			require.NoError(t, err)
			defer s.close()
			for _, torn := range c.torn {
				require.NoError(t, s.keepTornVersion("x."+newID(), []byte(torn), nil, false))
			}
			for range 2 {
				_, _, err = g.Recover(t.Context(), true)
				require.NoError(t, err)
			}
			require.NoError(t, g.Close())
			want, got := c.want, t.content()
			if len(c.torn) > 1 { // which one comes first, their names say
				want, got = inOrder(want), inOrder(got)
			}
			require.Equal(t, want, got)
		})
	}
}

func inOrder(lines string) string {
	all := strings.SplitAfter(lines, "\n")
	slices.Sort(all)
	return strings.Join(all, "")
}

// A power cut does not take what a torn version was made from and leave that: it would be one that was made from nothing, and its counters
// would count from 0.
func TestATornVersionIsNotOnDiskBeforeItsBase(t *testing.T) {
	for _, known := range []bool{true, false} {
		m := newMachine(t, `{"n":1}`)
		s, err := m.process(Options{}).openStore(true)
		require.NoError(t, err)
		defer s.close()
		beside, r, seen := tornBaseSuffix, rand.New(rand.NewPCG(1, 2)), 0
		if !known {
			beside = tornUnknownSuffix
		}
		m.before = func(vfs.Call) vfs.Fault {
			cuts := m.mem.Cuts(vfs.AnyOrder)
			for range 50 {
				tree := cuts.Sample(r).Tree()
				for path, content := range tree {
					if id, ok := strings.CutSuffix(path, tornSuffixName); ok && content != "" {
						seen++
						require.NotEmpty(t, tree[id+beside], vfs.Paths(tree))
					}
				}
			}
			return vfs.Fault{}
		}
		require.NoError(t, s.keepTornVersion("x", []byte(`{"n":2,`), []byte(`{"n":1}`), known))
		require.Positive(t, seen)
	}
}
