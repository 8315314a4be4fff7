package sidecar

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// written is a line of one of several dead processes.
type writtenLine struct {
	by int
	op merge.Op
}

// leave plants what several processes left, whose lines came in that order.
func (m *machine) leave(lines []writtenLine) {
	files := map[int][]byte{}
	seqs := map[int]uint64{}
	for i, w := range lines {
		if files[w.by] == nil {
			h := header{Version: journalVersion, ID: deadID(w.by), PID: 1 + w.by, Boot: "one"}
			head, err := h.marshal()
			require.NoError(m, err)
			files[w.by] = head
		}
		seqs[w.by]++
		l := line{Seq: seqs[w.by], Monotonic: int64(i), Ops: encodeOps([]merge.Op{w.op})}
		files[w.by] = l.appendTo(files[w.by])
	}
	for by, raw := range files {
		m.plant(deadID(by), append(raw, make([]byte, 100)...))
	}
}

func deadID(by int) string { return fmt.Sprintf("dead.%d.00000000000000aa", by+1) }

// oneByOne is what becomes of a document when each change is carried out by itself.
func oneByOne(t require.TestingT, content string, lines []writtenLine) (outcome string, rejected, conflicts []string) {
	d, err := merge.Parse([]byte(content), merge.JSON)
	require.NoError(t, err)
	written, seqs, owners := map[string]writtenPlace{}, map[int]int{}, map[int]*sidecarFile{}
	for _, w := range lines {
		if owners[w.by] == nil {
			owners[w.by] = &sidecarFile{}
		}
		seqs[w.by]++
		met := overwritten([]merge.Op{w.op}, written, owners[w.by])
		if d.Do(w.op) != nil {
			rejected = append(rejected, fmt.Sprint(deadID(w.by), " ", seqs[w.by]))
			continue
		}
		for _, c := range met {
			conflicts = append(conflicts, fmt.Sprintf("%d: %s %s %s", seqs[w.by], c.At, shown(text(c.Ours)), shown(text(c.Theirs))))
		}
	}
	return string(merge.Compact(nil, d.Bytes())), rejected, conflicts
}

func shown(text *string) string {
	if text == nil {
		return "missing"
	}
	return *text
}

// Changes that are carried out at once come to what they come to one by one: the values, the order of what is new, who is
// refused, and who is in conflict.
func TestStepsComeToWhatTheirChangesComeTo(t *testing.T) {
	together := 0
	rapid.Check(t, func(rt *rapid.T) {
		places := []string{"/a/x", "/a/y", "/a/z", "/b/x", "/s/x", "/a", "/l/0", "/l/1", "/l/2", "/l/3", "/l/-", "/new/x", "/new/x/y", "/a~1b/x", "/ü/x", "/\"/x"}
		places = places[:rapid.SampledFrom([]int{1, 4, len(places)}).Draw(rt, "places")]
		pad := rapid.SampledFrom([]int{0, 0, 100, 5_000, 40_000}).Draw(rt, "pad") // longer lines are read a second time
		lines := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) writtenLine {
			op := merge.Op{
				Kind: rapid.SampledFrom([]string{"set", "set", "set", "set", "set", "set", "set", "incr", "delete", "append"}).Draw(rt, "kind"),
				At:   rapid.SampledFrom(places).Draw(rt, "at"),
			}
			switch op.Kind {
			case "set":
				value := rapid.SampledFrom([]string{"1", "2", `{"x":1,"y":2}`, "[]", `[1,2]`, "null"}).Draw(rt, "value")
				if value == "2" && pad > 0 {
					value = `"` + strings.Repeat("p", pad) + `"`
				}
				op.Value = merge.Raw(value)
			case "incr", "append":
				op.Value = merge.Raw("1")
			}
			return writtenLine{rapid.IntRange(0, 2).Draw(rt, "by"), op}
		}), 1, 60).Draw(rt, "lines")
		if rapid.Bool().Draw(rt, "one after the other") {
			slices.SortStableFunc(lines, func(a, b writtenLine) int { return a.by - b.by })
		}
		content := `{"a":{"x":0,"q":1},"l":[1],"s":"text"}`
		want, rejected, conflicts := oneByOne(rt, content, lines)

		m := used(t, content)
		m.leave(lines)
		g := m.process(Options{})
		result, _, err := g.Recover(t.Context(), false)
		require.NoError(rt, err)
		require.NoError(rt, g.Close())
		require.Equal(rt, want, string(merge.Compact(nil, []byte(m.content()))))
		require.Equal(rt, len(lines)-len(rejected), result.Folded)
		var refused, met []string
		for _, r := range result.Rejected {
			refused = append(refused, fmt.Sprint(r.Sidecar, " ", r.Seq))
		}
		for _, c := range result.Conflicts {
			met = append(met, fmt.Sprintf("%d: %s %s %s", c.Seq, c.At, shown(c.Ours), shown(c.Theirs)))
		}
		require.ElementsMatch(rt, rejected, refused)
		require.ElementsMatch(rt, conflicts, met)
		require.Equal(rt, m.content(), m.recovered(), "nothing is left of it")

		f := &fold{g: g, target: &snapshot{}}
		for by := range 3 {
			sc := &sidecarFile{}
			f.sidecars = append(f.sidecars, sc)
			for i, w := range lines {
				if w.by == by {
					l := line{Seq: uint64(i + 1), Monotonic: int64(i), Ops: encodeOps([]merge.Op{w.op})}
					e, _, ok := sc.entryOf(bytes.TrimSuffix(l.appendTo(nil), []byte("\n")), 0)
					require.True(rt, ok)
					e.Monotonic = int64(i)
					sc.lines = append(sc.lines, e)
				}
			}
		}
		f.queue()
		slices.SortStableFunc(f.pending, comparePending)
		steps, _ := f.plan()
		together += len(lines) - len(steps)
	})
	if !testing.Short() { // a few drawn by chance may have nothing that goes together
		require.Positive(t, together)
	}
}

// A long sidecar is read twice. Where the second time fails, or finds other lines, all of it is left to the next fold, and
// what others left is not.
func TestASidecarThatCannotBeReadASecondTime(t *testing.T) {
	var lines []writtenLine
	for i := range 1000 {
		lines = append(lines, writtenLine{0, merge.Op{Kind: merge.OpSet, At: fmt.Sprintf("/long/%d", i%10), Value: merge.Raw(fmt.Sprintf(`"%0200d"`, i))}})
	}
	lines = append(lines, writtenLine{0, incr("/n")}, writtenLine{1, incr("/n")}, writtenLine{1, incr("/m")})
	want, _, _ := oneByOne(t, `{}`, lines)

	for _, how := range []string{"fails", "finds another line"} {
		for at := range 4 { // of the calls that read it again
			m := used(t, `{}`)
			m.leave(lines)
			reads := 0
			m.before = func(c vfs.Call) vfs.Fault {
				if c.Op != "read" || !strings.HasSuffix(c.Path, deadID(0)) {
					return vfs.Fault{}
				}
				if reads++; reads-2 != at { // the first one is of all of it
					return vfs.Fault{}
				}
				if how == "fails" {
					return vfs.Fault{Err: errDisk}
				}
				m.overwrite(deadID(0), `"seq":`, `"sEq":`)
				return vfs.Fault{}
			}
			g := m.process(Options{})
			result, _, err := g.Recover(t.Context(), false)
			require.NoError(t, err)
			require.NoError(t, g.Close())
			if result.Folded < len(lines) {
				require.Equal(t, 2, result.Folded, "%s, read %d", how, at)
				require.JSONEq(t, `{"n":1,"m":1}`, m.content())
				m.overwrite(deadID(0), `"sEq":`, `"seq":`)
			} else {
				require.Positive(t, at, "%s: nothing was read a second time", how)
			}
			require.JSONEq(t, want, m.recovered(), "%s, read %d", how, at)
		}
	}
}

// overwrite changes text of a sidecar in place.
func (m *machine) overwrite(name, old, replacement string) {
	dir, err := m.mem.OpenDir(guardOfFile + "/" + pendingName)
	require.NoError(m, err)
	raw, err := readFile(dir, name)
	require.NoError(m, err)
	f, err := dir.OpenFile(name, os.O_RDWR, 0)
	require.NoError(m, err)
	require.NoError(m, writeWhole(f, bytes.ReplaceAll(raw, []byte(old), []byte(replacement)), 0))
	require.NoError(m, f.Close())
}

// Of some stretches the order is what counts.
func TestSetsThatAreNotCarriedOutAtOnce(t *testing.T) {
	set := func(at, value string) writtenLine {
		return writtenLine{0, merge.Op{Kind: merge.OpSet, At: at, Value: merge.Raw(value)}}
	}
	for name, lines := range map[string][]writtenLine{
		"a place inside of another's":        {set("/a/x", "1"), set("/a", `{"x":5}`), set("/a/x", "2")},
		"the place around it":                {set("/a", `{"x":5}`), set("/a/x", "2"), set("/a", `{"x":6}`), set("/a/y", "1")},
		"the end of a list":                  {set("/l/1", "1"), set("/l/-", "2"), set("/l/1", "3")},
		"an element behind the next one":     {set("/l/2", "1"), set("/l/1", "2"), set("/l/2", "3"), set("/l/3", "4"), set("/l/2", "5")},
		"another process's next element":     {set("/l/2", "1"), {1, merge.Op{Kind: merge.OpSet, At: "/l/1", Value: merge.Raw("2")}}, set("/l/2", "3")},
		"inside of an element not there yet": {set("/l/2/x", "1"), set("/l/1/y", "2"), set("/l/2/x", "3")},
		"what is deleted in between":         {set("/a/x", "1"), {0, merge.Op{Kind: merge.OpDelete, At: "/a"}}, set("/a/x", "2")},
		"what is copied in between":          {set("/a/x", "1"), {0, merge.Op{Kind: merge.OpCopy, From: "/a/x", At: "/a/y"}}, set("/a/x", "2")},
		"another process's in between":       {set("/a/x", "1"), {1, merge.Op{Kind: merge.OpSet, At: "/a/x", Value: merge.Raw("2")}}, set("/a/x", "1")},
		"new ones, in their order":           {set("/a/n1", "1"), set("/a/n2", "1"), set("/a/n1", "2")},
		"a place that there cannot be":       {set("/s/x", "1"), set("/a/x", "1"), set("/s/x", "2"), set("/a/x", "2")},
		"a value that nests too deep":        {set("/a/x", strings.Repeat("[", 9_999)+strings.Repeat("]", 9_999)), set("/a/x", "2")},
		"a value that equals what is there":  {set("/a/x", "1"), set("/a/x", "0")},
	} {
		t.Run(name, func(t *testing.T) {
			content := `{"a":{"x":0},"l":[0],"s":"text"}`
			want, rejected, conflicts := oneByOne(t, content, lines)
			m := used(t, content)
			m.leave(lines)
			g := m.process(Options{})
			result, _, err := g.Recover(t.Context(), false)
			require.NoError(t, err)
			require.NoError(t, g.Close())
			require.Equal(t, want, string(merge.Compact(nil, []byte(m.content()))))
			require.Len(t, result.Rejected, len(rejected))
			require.Len(t, result.Conflicts, len(conflicts))
			require.Equal(t, len(lines)-len(rejected), result.Folded)
		})
	}
}

// A change that was made against a target that was there does not make it again; one that was made against none does, and
// what is set again is told apart.
func TestSetsOfATargetThatIsMissing(t *testing.T) {
	m := used(t, `{}`)
	raw, err := header{Version: journalVersion, ID: deadID(0), PID: 1}.marshal()
	require.NoError(t, err)
	for i, made := range []bool{false, true, true} {
		l := line{Seq: uint64(i + 1), Monotonic: int64(i), New: made, Ops: encodeOps([]merge.Op{{Kind: merge.OpSet, At: "/x", Value: merge.Raw(fmt.Sprint(i))}})}
		raw = l.appendTo(raw)
	}
	m.plant(deadID(0), raw)
	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(t, err)
	require.NoError(t, dir.Remove(machineFile))
	g := m.process(Options{})
	result, _, err := g.Recover(t.Context(), false)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	require.Len(t, result.Rejected, 1)
	require.Equal(t, uint64(1), result.Rejected[0].Seq)
	require.JSONEq(t, `{"x":2}`, m.content())
}

// What processes left that lived at the same time is read in as few calls as what followed each other.
func TestInterleavedSidecarsAreReadInParts(t *testing.T) {
	const processes, each = 10, 1000
	reads := map[bool]int{}
	for _, interleaved := range []bool{false, true} {
		var lines []writtenLine
		for i := range processes * each {
			by, n := i/each, i%each
			if interleaved {
				by, n = i%processes, i/processes
			}
			lines = append(lines, writtenLine{by, merge.Op{Kind: merge.OpSet, At: fmt.Sprintf("/%d-%d", by, n), Value: merge.Raw("1")}})
		}
		m := used(t, `{}`)
		m.leave(lines)
		m.before = func(c vfs.Call) vfs.Fault {
			if c.Op == "read" && strings.Contains(c.Path, "/"+pendingName+"/") {
				reads[interleaved]++
			}
			return vfs.Fault{}
		}
		g := m.process(Options{})
		result, _, err := g.Recover(t.Context(), false)
		require.NoError(t, err)
		require.NoError(t, g.Close())
		require.Equal(t, len(lines), result.Folded)
	}
	require.Greater(t, reads[false], processes, "nothing was read a second time")
	require.Equal(t, reads[false], reads[true])
}
