package policy

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

// world is a document and the programs that keep versions of it in memory.
type world struct {
	t      *rapid.T
	policy *merge.Policy
	target []byte
}

type program struct {
	base  []byte // what it read or wrote last
	moves merge.Moves
}

func newWorld(t *rapid.T, policy, target string) *world {
	p, err := Parse(Name, []byte(policy))
	require.NoError(t, err)
	return &world{t, p.Merge, []byte(target)}
}

func (w *world) read(p *program) { *p = program{base: w.target} }

// table decodes one member of the version that a program has.
func table[T any](t require.TestingT, doc []byte, name string) map[string]T {
	var all map[string]map[string]T
	require.NoError(t, json.Unmarshal(doc, &all))
	if all[name] == nil {
		return map[string]T{}
	}
	return all[name]
}

// write folds a program's new version of one member.
func (w *world) write(p *program, name string, value any) {
	version, err := json.Marshal(map[string]any{name: value})
	require.NoError(w.t, err)
	change, err := merge.Diff(p.base, version, merge.JSON, w.policy)
	require.NoError(w.t, err)
	w.fold(func(d *merge.Document) {
		out, err := d.Merge(change.From(p.moves), w.policy)
		require.NoError(w.t, err)
		require.Empty(w.t, out.Conflicts)
		*p = program{version, out.Moves}
	})
}

func (w *world) fold(f func(*merge.Document)) {
	d, err := merge.Parse(w.target, merge.JSON)
	require.NoError(w.t, err)
	require.NoError(w.t, d.Under(w.policy))
	f(d)
	require.Empty(w.t, d.Derive(context.Background(), w.target, w.policy))
	w.target = d.Bytes()
	_, err = merge.Parse(w.target, merge.JSON)
	require.NoError(w.t, err, "%s", w.target)
}

// Programs that spell one model in their own ways count together exactly, whatever they pop, whenever they start again,
// and with operations and normalizations in between; another model is never touched.
func TestRenamedCountersProperty(t *testing.T) {
	type record struct {
		N int `json:"n"`
	}
	const policy = `{"rules": [
		{"at": "/m/*/n", "merge": "sum"}, {"at": "/m/*/twice", "derive": ".n * 2"},
		{"at": "/m", "rename": [{"match": "(?i)^x(-\\d)?$", "to": "X"}]}]}`
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, policy, `{"m":{"other":{"n":1}}}`)
		programs := make([]program, rapid.IntRange(1, 3).Draw(t, "programs"))
		for i := range programs {
			w.read(&programs[i])
		}
		want := 0
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			p := &programs[rapid.IntRange(0, len(programs)-1).Draw(t, "program")]
			name := rapid.SampledFrom([]string{"x", "x-1", "X-2", "X"}).Draw(t, "name")
			view := table[record](t, p.base, "m")
			switch rapid.SampledFrom([]string{"count", "count", "count", "pop", "restart", "incr", "normalize"}).Draw(t, "step") {
			case "count":
				n := rapid.IntRange(1, 5).Draw(t, "n")
				view[name] = record{view[name].N + n}
				want += n
				w.write(p, "m", view)
			case "pop":
				if name == "X" {
					continue // by its right name it goes whole, or stays with what others did: not a question of spelling
				}
				want -= view[name].N
				delete(view, name)
				w.write(p, "m", view)
			case "restart":
				w.read(p)
			case "incr":
				n := rapid.IntRange(1, 5).Draw(t, "n")
				w.fold(func(d *merge.Document) {
					require.NoError(t, d.Do(merge.Op{Kind: merge.OpIncr, At: "/m/" + name + "/n", Value: merge.Raw(strconv.Itoa(n))}))
				})
				want += n
			case "normalize":
				w.fold(func(d *merge.Document) {
					joins, _, err := d.Normalize(w.policy)
					require.NoError(t, err)
					require.Empty(t, joins, "nothing is there in another spelling")
				})
			}
			var doc struct {
				M map[string]struct{ N, Twice int }
			}
			require.NoError(t, json.Unmarshal(w.target, &doc))
			require.Equal(t, 1, doc.M["other"].N)
			require.Equal(t, want, doc.M["X"].N, "%s", w.target)
			require.Equal(t, 2*doc.M["X"].N, doc.M["X"].Twice, "%s", w.target)
			delete(doc.M, "other")
			delete(doc.M, "X")
			require.Empty(t, doc.M)
		}
	})
}

// Programs that number what they add by counting on from what they know never lose a document, nor touch another's.
func TestRenumberProperty(t *testing.T) {
	type doc struct {
		ID, Version int
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, `{"rules": [{"at": "/t", "merge": "renumber"}]}`, `{"t":{}}`)
		programs := make([]program, rapid.IntRange(1, 3).Draw(t, "programs"))
		for i := range programs {
			w.read(&programs[i])
		}
		want := map[int]doc{} // by id
		owner := map[int]int{}
		for step := range rapid.IntRange(1, 15).Draw(t, "steps") {
			who := rapid.IntRange(0, len(programs)-1).Draw(t, "program")
			p := &programs[who]
			view := table[doc](t, p.base, "t")
			var mine []string
			last := 0
			for _, key := range slices.Sorted(maps.Keys(view)) {
				n, err := strconv.Atoi(key)
				require.NoError(t, err)
				last = max(last, n)
				if owner[view[key].ID] == who {
					mine = append(mine, key)
				}
			}
			what := rapid.SampledFrom([]string{"insert", "insert", "update", "remove", "restart"}).Draw(t, "step")
			if len(mine) == 0 && (what == "update" || what == "remove") {
				what = "insert"
			}
			switch what {
			case "insert":
				d := doc{ID: step + 1}
				view[strconv.Itoa(last+1)], want[d.ID], owner[d.ID] = d, d, who
			case "update":
				key := rapid.SampledFrom(mine).Draw(t, "key")
				d := view[key]
				d.Version = step
				view[key], want[d.ID] = d, d
			case "remove":
				key := rapid.SampledFrom(mine).Draw(t, "key")
				delete(want, view[key].ID)
				delete(view, key)
			case "restart":
				w.read(p)
				continue
			}
			w.write(p, "t", view)
			got := map[int]doc{}
			for key, d := range table[doc](t, w.target, "t") {
				require.NotContains(t, got, d.ID, "twice, also as %s: %s", key, w.target)
				got[d.ID] = d
			}
			require.Equal(t, want, got, string(w.target))
		}
	})
}
