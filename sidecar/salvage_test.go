package sidecar

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
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
