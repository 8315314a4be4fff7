package merge_test

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

func mergeTexts(t require.TestingT, base, ours, theirs []byte, pol *merge.Policy) ([]byte, []merge.Conflict) {
	out, outcome, err := merge.Merge(base, ours, theirs, merge.JSON, pol)
	require.NoError(t, err, "base %s\nours %s\ntheirs %s", base, ours, theirs)
	require.NoError(t, merge.Valid(out, merge.JSON))
	return out, outcome.Conflicts
}

func anyDialect(t *rapid.T, label string) dialect { return rapid.SampledFrom(dialects).Draw(t, label) }

// merge(b, b, t) is t, merge(b, x, x) is x and merge(b, o, b) is o, byte for byte.
func TestLawIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyDocument(t)
		base := anyDialect(t, "base in").write(b)
		other := anyDialect(t, "other in").write(edited(t, b))
		for _, c := range [][4][]byte{{base, base, other, other}, {base, other, other, other}, {base, other, base, other}} {
			got, conflicts := mergeTexts(t, c[0], c[1], c[2], nil)
			require.Equal(t, string(c[3]), string(got))
			require.Empty(t, conflicts)
		}
	})
}

// Under a policy that takes whole versions, merge(b, o, b) is o, byte for byte, whatever its rules.
func TestLawTakenWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		strategy := rapid.SampledFrom(append(merge.Strategies(), "")).Draw(t, "strategy")
		pol := &merge.Policy{Rules: []merge.Rule{{At: "/**", Merge: strategy}}, Strict: rapid.Bool().Draw(t, "strict"), Adopt: rapid.Bool().Draw(t, "adopt")}
		if strategy == merge.Keyed {
			pol.Rules[0].Key = []string{"a"}
		}
		require.True(t, pol.TakesWhole())
		b := anyDocument(t)
		base := anyDialect(t, "base in").write(b)
		ours := anyDialect(t, "ours in").write(edited(t, b))
		got, conflicts := mergeTexts(t, base, ours, base, pol)
		require.Equal(t, string(ours), string(got))
		require.Empty(t, conflicts)
	})
	for _, pol := range []*merge.Policy{
		{Duplicates: "reject"}, {Duplicates: "collapse"}, {Renames: make([]merge.Rename, 1)}, {Derived: make([]merge.Derivation, 1)},
	} {
		require.False(t, pol.TakesWhole())
	}
}

// naive is the merge of dictionaries that anybody would write down: member by member, a list and everything else as one
// value. sure is false where it has no opinion: lists that both sides changed.
func naive(base, ours, theirs any) (out any, sure bool) {
	if lists(ours, theirs) && !equal(ours, theirs) && !equal(theirs, base) && !equal(ours, base) {
		return nil, false
	}
	if equal(ours, base) {
		return theirs, true
	}
	if equal(theirs, base) || equal(ours, theirs) {
		return ours, true
	}
	if _, gone := ours.(missing); gone {
		return theirs, true // the record is kept
	}
	o, isO := ours.(*object)
	t, isT := theirs.(*object)
	b, isB := base.(*object)
	if _, none := base.(missing); none {
		b, isB = newObject(), true
	}
	if !isO || !isT || !isB {
		return ours, true
	}
	merged := newObject()
	for _, name := range append(append([]string{}, t.names...), o.names...) {
		if _, done := merged.values[name]; done {
			continue
		}
		v, sure := naive(b.at(name), o.at(name), t.at(name))
		if !sure {
			return nil, false
		}
		if _, gone := v.(missing); !gone {
			merged.set(name, v)
		}
	}
	return merged, true
}

func (o *object) at(name string) any {
	if v, ok := o.values[name]; ok {
		return v
	}
	return missing{}
}

func lists(ours, theirs any) bool {
	_, a := ours.(list)
	_, b := theirs.(list)
	return a && b
}

// The outcome equals a naive merge of dictionaries, whoever writes in which style.
func TestLawNaiveMerge(t *testing.T) {
	sure := 0
	rapid.Check(t, func(t *rapid.T) {
		b := anyDocument(t)
		o, th := edited(t, b), edited(t, b)
		got, _ := mergeTexts(t, anyDialect(t, "base in").write(b), anyDialect(t, "ours in").write(o), anyDialect(t, "theirs in").write(th), nil)
		want, ok := naive(b, o, th)
		if !ok {
			return
		}
		sure++
		if !equal(want, decode(t, got)) {
			require.Equal(t, string(python.write(want)), string(python.write(decode(t, got))))
		}
	})
	require.Positive(t, sure)
}

// When everybody writes with the same serializer, the result is what that serializer would have written.
func TestLawSameSerializer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDialect(t, "dialect")
		b := anyDocument(t)
		ours, theirs := d.write(edited(t, b)), d.write(edited(t, b))
		got, _ := mergeTexts(t, d.write(b), ours, theirs, nil)
		require.Equal(t, string(d.write(decode(t, got))), string(got), "base %s\nours %s\ntheirs %s", d.write(b), ours, theirs)
	})
}

// What a load and dump by Python makes of ours changes nothing in the outcome, beside how new text is written.
func TestLawLoadAndDump(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyDocument(t)
		o, th := edited(t, b), edited(t, b)
		d := anyDialect(t, "dialect")
		base, ours, theirs := d.write(b), d.write(o), d.write(th)
		dump := rapid.SampledFrom([]dialect{python, pythonIndent}).Draw(t, "dumped in")
		dump.literal = pythonFloats
		if bytes.Equal(base, theirs) {
			return // then the writer's own bytes are taken
		}
		want, wantConflicts := mergeTexts(t, base, ours, theirs, nil)
		got, gotConflicts := mergeTexts(t, base, dump.write(o), theirs, nil)
		require.True(t, equal(decode(t, want), decode(t, got)), "%s\n%s", want, got)
		require.Len(t, gotConflicts, len(wantConflicts))
		d.literal = pythonFloats // the literals of new text are the writer's
		require.Equal(t, string(d.write(decode(t, want))), string(d.write(decode(t, got))))
	})
}

// Bytes outside the edits are unchanged: a document in a style of its own, in which each side changes other members.
func TestLawBytesOutside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const members = 8
		raw := make([]string, members)
		for i := range raw {
			raw[i] = rapid.SampledFrom([]string{
				" \"%s\" : 1.10 ", "\n\t\"%s\":[1,2 , 3]", "\"%s\":   { \"x\":1e5,\"y\" : \"a\\/b\" }", "\r\n\"%s\": \"\\u00e9é\"", "\"%s\":{}", "\"%s\":[ ]",
			}).Draw(t, "member")
		}
		document := func(change func(i int) (string, bool)) []byte {
			out := []byte(" {")
			for i, r := range raw {
				if i > 0 {
					out = append(out, ',')
				}
				member := fmt.Sprintf(r, string(rune('a'+i)))
				if v, ok := change(i); ok { // the same text around another value
					key, value, _ := strings.Cut(member, ":")
					space := value[:len(value)-len(strings.TrimLeft(value, " \r\n\t"))]
					end := value[len(strings.TrimRight(value, " \r\n\t")):]
					member = key + ":" + space + v + end
				}
				out = append(out, member...)
			}
			return append(out, "\n } "...)
		}
		oursAt := rapid.SliceOfNDistinct(rapid.IntRange(0, members-1), 0, 3, rapid.ID[int]).Draw(t, "ours changes")
		theirsAt := rapid.SliceOfNDistinct(rapid.IntRange(0, members-1), 0, 3, rapid.ID[int]).Draw(t, "theirs changes")
		in := func(list []int, i int) bool {
			for _, x := range list {
				if x == i {
					return true
				}
			}
			return false
		}
		base := document(func(int) (string, bool) { return "", false })
		ours := document(func(i int) (string, bool) { return `"ours"`, in(oursAt, i) })
		theirs := document(func(i int) (string, bool) { return `"theirs"`, in(theirsAt, i) })
		want := document(func(i int) (string, bool) {
			if in(oursAt, i) {
				return `"ours"`, true
			}
			return `"theirs"`, in(theirsAt, i)
		})
		got, _ := mergeTexts(t, base, ours, theirs, nil)
		require.Equal(t, string(want), string(got))
		dumped, _ := mergeTexts(t, base, pythonIndent.write(decode(t, ours)), theirs, nil)
		if !bytes.Equal(base, theirs) {
			require.Equal(t, string(want), string(dumped), "ours loaded and dumped")
		}
	})
}

// Edits to different places commute: the same values, whoever comes first.
func TestLawDisjointEditsCommute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newObject()
		for _, name := range []string{"a", "b", "c", "d"} {
			b.set(name, anyValue(t, 3))
		}
		o, th := b.clone(), b.clone()
		for _, name := range b.names { // each member belongs to one of the two
			mine := o
			if rapid.Bool().Draw(t, "whose "+name) {
				mine = th
			}
			mine.values[name] = edited(t, mine.values[name])
		}
		o.set("ours", anyValue(t, 1))
		th.set("theirs", anyValue(t, 1))
		base, ours, theirs := anyDialect(t, "base in").write(b), anyDialect(t, "ours in").write(o), anyDialect(t, "theirs in").write(th)
		one, c1 := mergeTexts(t, base, ours, theirs, nil)
		other, c2 := mergeTexts(t, base, theirs, ours, nil)
		require.True(t, equal(decode(t, one), decode(t, other)), "%s\n%s", one, other)
		require.Empty(t, c1)
		require.Empty(t, c2)
		for _, name := range b.names {
			want := o.at(name)
			if equal(want, b.at(name)) {
				want = th.at(name)
			}
			require.True(t, equal(want, decode(t, one).(*object).at(name)), name)
		}
	})
}

// Insertions into an array at any places are all kept, in their writer's order, and never conflict.
func TestLawInsertions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var base list
		for i := range rapid.IntRange(0, 6).Draw(t, "length") {
			base = append(base, number(fmt.Sprint(i%4)))
		}
		insert := func(by string) (list, []string) {
			out, names := list{}, []string{}
			for i := range len(base) + 1 {
				for range rapid.IntRange(0, 2).Draw(t, by) {
					names = append(names, fmt.Sprint(by, len(names)))
					out = append(out, names[len(names)-1])
				}
				if i < len(base) {
					out = append(out, base[i])
				}
			}
			return out, names
		}
		ours, oursNames := insert("ours")
		theirs, theirsNames := insert("theirs")
		got, conflicts := mergeTexts(t, python.write(base), stringify.write(ours), python.write(theirs), nil)
		require.Empty(t, conflicts)
		var numbers list
		found := map[byte][]string{}
		for _, v := range decode(t, got).(list) {
			if name, ok := v.(string); ok {
				found[name[0]] = append(found[name[0]], name)
			} else {
				numbers = append(numbers, v)
			}
		}
		require.True(t, equal(numbers, base) || len(base) == 0 && len(numbers) == 0)
		require.Equal(t, oursNames, append([]string{}, found['o']...))
		require.Equal(t, theirsNames, append([]string{}, found['t']...))
	})
}

// sum gives base + Σδ for any interleaving: writers read some version, add, and merge into what there is by then.
func TestLawSum(t *testing.T) {
	pol := &merge.Policy{Rules: []merge.Rule{{At: "/n", Merge: merge.Sum}}}
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.SampledFrom([]string{"1", "1", "-1", "0.1", "2.50", "9007199254740993", "1e3"})
		document := func(n *big.Rat) []byte {
			text := strings.TrimRight(strings.TrimRight(n.FloatString(6), "0"), ".")
			return []byte(`{"n": ` + text + `}`)
		}
		versions := [][]byte{document(rational(number(amount.Draw(t, "start"))))}
		value := func(doc []byte) *big.Rat { return rational(decode(t, doc).(*object).at("n").(number)) }
		want := value(versions[0])
		for range rapid.IntRange(1, 10).Draw(t, "writes") {
			read := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "read")]
			delta := rational(number(amount.Draw(t, "delta")))
			ours := document(new(big.Rat).Add(value(read), delta))
			next, conflicts := mergeTexts(t, read, ours, versions[len(versions)-1], pol)
			require.Empty(t, conflicts)
			want.Add(want, delta)
			require.Zero(t, want.Cmp(value(next)), "%s, want %s", next, want.FloatString(6))
			versions = append(versions, next)
		}
	})
}

// No scalar, and no name, that no input held.
func TestLawNothingMadeUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyDocument(t)
		held := map[string]bool{}
		base, ours, theirs := anyDialect(t, "base in").write(b), anyDialect(t, "ours in").write(edited(t, b)), anyDialect(t, "theirs in").write(edited(t, b))
		for _, text := range [][]byte{base, ours, theirs} {
			eachScalar(decode(t, text), func(s string) { held[s] = true })
		}
		pol := &merge.Policy{Rules: []merge.Rule{{At: "/**", Merge: rapid.SampledFrom([]merge.Strategy{
			"", merge.Theirs, merge.First, merge.Last, merge.Fail, merge.Max, merge.Min, merge.Delete, merge.Atomic, merge.Append, merge.Set,
		}).Draw(t, "strategy")}}}
		got, _ := mergeTexts(t, base, ours, theirs, pol)
		eachScalar(decode(t, got), func(s string) { require.True(t, held[s], "%s is new in %s", s, got) })
	})
}

func eachScalar(v any, visit func(string)) {
	switch v := v.(type) {
	case list:
		for _, e := range v {
			eachScalar(e, visit)
		}
	case *object:
		for _, name := range v.names {
			visit("name " + name)
			eachScalar(v.values[name], visit)
		}
	case number:
		visit(string(v)) // the very literal
	case missing:
	default:
		visit(string(python.write(v)))
	}
}

// A value that loses is in a conflict: what one side wrote to a place is in the outcome or was told.
func TestLawNothingLostSilently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newObject()
		for _, name := range []string{"a", "b", "c"} {
			b.set(name, anyScalar.Draw(t, "base"))
		}
		o, th := b.clone(), b.clone()
		for i, side := range []*object{o, th} {
			for _, name := range []string{"a", "b", "c", "d"} {
				switch rapid.IntRange(0, 2).Draw(t, "does") {
				case 0:
					side.set(name, fmt.Sprint(i, name))
				case 1:
					side.delete(name)
				}
			}
		}
		got, conflicts := mergeTexts(t, python.write(b), python.write(o), python.write(th), nil)
		told := map[string]bool{}
		for _, c := range conflicts {
			told[string(c.Ours)], told[string(c.Theirs)] = true, true
		}
		for _, side := range []*object{o, th} {
			for _, name := range side.names {
				if equal(side.at(name), b.at(name)) {
					continue
				}
				text := string(python.write(side.at(name)))
				require.True(t, told[text] || equal(decode(t, got).(*object).at(name), side.at(name)), "%s at %s is gone: %s", text, name, got)
			}
		}
	})
}

// AdditionsOnly never deletes and never changes: every member of theirs is there with its value, every element in order.
func TestLawAdditionsOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := anyDocument(t)
		o, th := edited(t, b), edited(t, b)
		change, err := merge.Diff(anyDialect(t, "base in").write(b), anyDialect(t, "ours in").write(o), merge.JSON, nil)
		require.NoError(t, err)
		theirs := anyDialect(t, "theirs in").write(th)
		d, err := merge.Parse(theirs, merge.JSON)
		require.NoError(t, err)
		_, err = d.Merge(change.AdditionsOnly(), nil)
		require.NoError(t, err)
		require.NoError(t, merge.Valid(d.Bytes(), merge.JSON))
		require.True(t, holds(decode(t, d.Bytes()), th), "theirs %s\nours %s\nresult %s", theirs, python.write(o), d.Bytes())
	})
}

// holds says whether everything of part is in whole: members by name, elements in order.
func holds(whole, part any) bool {
	switch p := part.(type) {
	case *object:
		w, ok := whole.(*object)
		if !ok {
			return false
		}
		for _, name := range p.names {
			if !holds(w.at(name), p.at(name)) {
				return false
			}
		}
		return true
	case list:
		w, ok := whole.(list)
		if !ok {
			return false
		}
		i := 0
		for _, e := range w {
			if i < len(p) && holds(e, p[i]) {
				i++
			}
		}
		return i == len(p)
	}
	return equal(whole, part)
}

// In JSON Lines everything that holds for an array holds for the lines.
func TestLawLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		anyLines := rapid.SliceOfN(rapid.SampledFrom([]string{`1`, `2`, `{"id": 1}`, `{"id": 2, "x": "é"}`, `[1, 2]`, `null`}), 0, 6)
		base := anyLines.Draw(t, "base")
		edit := func(who string) []string {
			out := append([]string{}, base...)
			for range rapid.IntRange(0, 3).Draw(t, who) {
				i := rapid.IntRange(0, len(out)).Draw(t, "at")
				switch {
				case i == len(out) || rapid.Bool().Draw(t, "insert"):
					out = append(out[:i:i], append([]string{`"` + who + `"`}, out[i:]...)...)
				default:
					out = append(out[:i:i], out[i+1:]...)
				}
			}
			return out
		}
		array := func(lines []string) []byte { return []byte("[" + strings.Join(lines, ",") + "]") }
		text := func(lines []string) []byte {
			out := strings.Join(lines, "\n")
			if out != "" && rapid.Bool().Draw(t, "newline at the end") {
				out += "\n"
			}
			return []byte(out)
		}
		ours, theirs := edit("ours"), edit("theirs")
		want, _ := mergeTexts(t, array(base), array(ours), array(theirs), nil)
		got, _, err := merge.Merge(text(base), text(ours), text(theirs), merge.Lines, nil)
		require.NoError(t, err)
		require.NoError(t, merge.Valid(got, merge.Lines))
		joined := "[" + strings.Join(strings.FieldsFunc(string(got), func(r rune) bool { return r == '\n' }), ",") + "]"
		require.True(t, equal(decode(t, want), decode(t, []byte(joined))), "%s\n%s", want, got)
	})
}
