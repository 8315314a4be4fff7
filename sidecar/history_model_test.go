package sidecar

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

// pair is what the document of this test holds.
type pair struct{ n, m int }

func (c pair) text() string { return fmt.Sprintf(`{"n":%d,"m":%d}`, c.n, c.m) }

// chronicle is the model of a target whose versions are kept: a list of what it was.
type chronicle struct {
	*machine
	keep    int
	guards  []*Guard
	was     []pair // versions that folds replaced, oldest first
	now     pair
	pending pair // journaled, and not folded
	outside int
}

// becomes says that a fold made a version of it.
func (c *chronicle) becomes(next pair) {
	if next != c.now {
		c.was = append(c.was, c.now)
		c.now = next
	}
}

// folded is what there is when what is pending has come in.
func (c *chronicle) folded() pair {
	next := pair{c.now.n + c.pending.n, c.now.m + c.pending.m}
	c.pending = pair{}
	return next
}

func (c *chronicle) kept() []pair {
	return append(slices.Clone(c.was[max(0, len(c.was)-c.keep):]), c.now)
}

func (c *chronicle) process(t *rapid.T) *Guard {
	if len(c.guards) > 2 {
		return c.guards[rapid.IntRange(0, len(c.guards)-1).Draw(t, "process")]
	}
	g := c.machine.process(Options{History: &History{Keep: c.keep}})
	c.guards = append(c.guards, g)
	return g
}

func (c *chronicle) versions(t *rapid.T, g *Guard) []Version {
	versions, err := g.History(c.Context())
	require.NoError(t, err)
	return versions
}

// Whatever several processes change, journal, restore and prune, and outsiders replace: history lists what the target was, each
// version has its bytes, a difference between two is what differs, and a restore brings back the whole or a place.
func TestHistoryIsWhatTheTargetWas(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := &chronicle{machine: newMachine(t, pair{}.text()), keep: rapid.IntRange(1, 12).Draw(rt, "keep")}
		change := func(t *rapid.T) (op merge.Op, by pair) {
			add := rapid.IntRange(1, 3).Draw(t, "add")
			op = merge.Op{Kind: merge.OpIncr, At: "/n", Value: strconv.AppendInt(nil, int64(add), 10)}
			if rapid.Bool().Draw(t, "m") {
				op.At = "/m"
				return op, pair{m: add}
			}
			return op, pair{n: add}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				op, by := change(t)
				_, err := c.process(t).Apply(c.Context(), op)
				require.NoError(t, err)
				next := c.folded()
				c.becomes(pair{next.n + by.n, next.m + by.m})
			},
			"journal": func(t *rapid.T) {
				op, by := change(t)
				require.NoError(t, c.process(t).Journal(c.Context(), op))
				c.pending.n += by.n
				c.pending.m += by.m
			},
			"update": func(t *rapid.T) {
				g := c.process(t)
				var seen, next pair
				_, err := g.Update(c.Context(), func(d *merge.Document) error {
					seen = c.now
					seen.n += c.pending.n
					seen.m += c.pending.m
					if string(d.Bytes()) != seen.text() {
						return fmt.Errorf("an update sees %s, not %s", d.Bytes(), seen.text())
					}
					next = pair{n: seen.m, m: seen.n}
					return errors.Join(d.Do(merge.Op{Kind: merge.OpSet, At: "/n", Value: strconv.AppendInt(nil, int64(next.n), 10)}),
						d.Do(merge.Op{Kind: merge.OpSet, At: "/m", Value: strconv.AppendInt(nil, int64(next.m), 10)}))
				})
				require.NoError(t, err)
				c.pending = pair{}
				c.becomes(next)
			},
			"flush": func(t *rapid.T) {
				_, err := c.process(t).Flush(c.Context())
				require.NoError(t, err)
				c.becomes(c.folded())
			},
			"an outsider replaces it": func(t *rapid.T) {
				// Not by what a fold has just replaced: then it looks as if that fold had not happened, and the two are listed as one.
				c.outside += 1000
				c.now = pair{c.outside, c.now.m}
				c.machine.replace(c.now.text())
			},
			"a process ends": func(t *rapid.T) {
				if len(c.guards) == 0 {
					t.Skip("there is none")
				}
				i := rapid.IntRange(0, len(c.guards)-1).Draw(t, "which")
				require.NoError(t, c.guards[i].Close())
				if c.guards = slices.Delete(c.guards, i, i+1); c.content() != c.now.text() {
					c.becomes(c.folded()) // it folds what it has itself journaled, and with it what others have
				}
			},
			"restore": func(t *rapid.T) {
				g := c.process(t)
				versions := c.versions(t, g)
				kept := c.kept()
				i := rapid.IntRange(0, len(versions)-1).Draw(t, "version")
				at := rapid.SampledFrom([]string{"", "/n", "/m"}).Draw(t, "at")
				_, err := g.Restore(c.Context(), versions[i], at)
				require.NoError(t, err)
				c.becomes(c.folded()) // of what was pending a version of its own
				back := kept[i]
				switch at {
				case "/n":
					back.m = c.now.m
				case "/m":
					back.n = c.now.n
				}
				c.becomes(back)
			},
			"diff": func(t *rapid.T) {
				g := c.process(t)
				versions, kept := c.versions(t, g), c.kept()
				i, j := rapid.IntRange(0, len(versions)-1).Draw(t, "from"), rapid.IntRange(0, len(versions)-1).Draw(t, "to")
				edits, err := g.Edits(c.Context(), versions[i], versions[j])
				require.NoError(t, err)
				var want []merge.Edit
				differ := func(at string, old, new int) {
					if old != new {
						want = append(want, merge.Edit{At: at, Old: strconv.AppendInt(nil, int64(old), 10), New: strconv.AppendInt(nil, int64(new), 10)})
					}
				}
				differ("/n", kept[i].n, kept[j].n)
				differ("/m", kept[i].m, kept[j].m)
				require.Equal(t, want, edits)
			},
			"clean": func(t *rapid.T) {
				g := c.process(t)
				_, err := g.Clean(c.Context())
				require.NoError(t, err)
				c.becomes(c.folded())
				s, err := g.openStore(false)
				if isMissing(err) {
					return // nothing was worth keeping
				}
				require.NoError(t, err)
				defer s.close()
				files, err := s.keptIfAny()
				require.NoError(t, err)
				require.LessOrEqual(t, len(files), c.keep)
			},
			"": func(t *rapid.T) {
				require.Equal(t, c.now.text(), c.content())
				g := c.process(t)
				versions, kept := c.versions(t, g), c.kept()
				require.Len(t, versions, len(kept))
				for i, v := range versions {
					content, err := g.Content(c.Context(), v)
					require.NoError(t, err)
					require.Equal(t, kept[i].text(), string(content), "version %d", i)
					require.Equal(t, i == len(versions)-1, v.Current)
					require.True(t, i == 0 || versions[i-1].Generation < v.Generation)
					of, err := VersionOf(versions, v.Generation)
					require.NoError(t, err)
					require.Equal(t, v, of)
				}
				status, err := g.Status(c.Context())
				require.NoError(t, err)
				require.Equal(t, len(kept)-1, status.Versions)
			},
		})
		for _, g := range c.guards {
			require.NoError(rt, g.Close())
		}
	})
}
