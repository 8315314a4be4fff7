package merge_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

// fewValues draws elements of which many are equal, by value if not in how they are written: the worst there is for pairing them.
func fewValues(t *rapid.T) func(label string) any {
	kinds := []any{number("0"), number("1"), number("1.0"), number("10e-1"), "é", nil, list{}, list{number("1")}}
	n := rapid.IntRange(1, len(kinds)).Draw(t, "values")
	own := 0
	records := rapid.Bool().Draw(t, "records")
	return func(label string) any {
		v := kinds[rapid.IntRange(0, n-1).Draw(t, label)]
		if own++; records && rapid.IntRange(0, 3).Draw(t, "own") > 0 {
			o := newObject()
			o.set("id", number(fmt.Sprint(own)))
			o.set("of", v)
			o.set("more", rapid.SampledFrom([]any{nil, "x"}).Draw(t, "more"))
			return o
		}
		return v
	}
}

// blocks are lists of which parts come again.
func blocks(t *rapid.T, value func(string) any) list {
	out := list{}
	for range rapid.IntRange(1, 6).Draw(t, "blocks") {
		if n := len(out); n > 0 && rapid.IntRange(0, 2).Draw(t, "again") == 0 {
			from := rapid.IntRange(0, n-1).Draw(t, "from")
			out = append(out, out[from:rapid.IntRange(from, min(n, from+40)).Draw(t, "to")]...)
			continue
		}
		for range rapid.IntRange(0, 40).Draw(t, "length") {
			out = append(out, value("element"))
		}
	}
	return out
}

func editedBlocks(t *rapid.T, l list, value func(string) any) list {
	l = slices.Clone(l)
	for range rapid.IntRange(0, 5).Draw(t, "edits") {
		at := rapid.IntRange(0, len(l)).Draw(t, "at")
		end := rapid.IntRange(at, min(len(l), at+rapid.SampledFrom([]int{1, 3, 30}).Draw(t, "reach"))).Draw(t, "end")
		switch rapid.IntRange(0, 5).Draw(t, "how") {
		case 0:
			l = slices.Delete(l, at, end)
		case 1:
			l = slices.Insert(l, rapid.IntRange(0, len(l)).Draw(t, "place"), slices.Clone(l[at:end])...)
		case 2:
			part := slices.Clone(l[at:end])
			l = slices.Delete(l, at, end)
			l = slices.Insert(l, rapid.IntRange(0, len(l)).Draw(t, "place"), part...)
		case 3:
			l = slices.Insert(l, at, value("new"))
		case 4:
			if at < len(l) {
				if o, ok := l[at].(*object); ok {
					o = o.clone()
					o.set(rapid.SampledFrom([]string{"of", "more", "id"}).Draw(t, "member"), value("other"))
					l[at] = o
				} else {
					l[at] = value("other")
				}
			}
		default:
			l = append(l, value("last"))
		}
	}
	return l
}

// TestLawExcerptsOfLists is TestLawExcerpts for lists in which most elements have equals, wherever the lists stand, under every policy
// that excerpts are for and more than one rule at a time.
func TestLawExcerptsOfLists(t *testing.T) {
	var drawn drawnExcerpts
	rapid.Check(t, func(t *rapid.T) {
		value := fewValues(t)
		usual := anyDialect(t, "usual")
		where := rapid.IntRange(0, 3).Draw(t, "where")
		text := func(l, other list) []byte {
			head := strings.Repeat("x", headSize)
			o := newObject()
			switch where {
			case 0:
				return written(t, append(list{head}, l...), usual)
			case 1:
				o.set("head", head)
				o.set("list", l)
			case 2:
				inner := newObject()
				inner.set("list", l)
				inner.set("n", number("0"))
				inner.set("other", other)
				o.set("head", head)
				o.set("in", inner)
				o.set("list", other)
			default:
				o.set("head", head)
				o.set("l", l)
				o.set("m", other)
				out := written(t, o, usual)
				if rapid.IntRange(0, 9).Draw(t, "double") == 0 { // the second list of the name counts
					out = []byte(strings.Replace(string(out), `"l"`, `"m"`, 1))
				}
				return []byte(strings.ReplaceAll(strings.ReplaceAll(string(out), `"l"`, `"list"`), `"m"`, `"list2"`))
			}
			return written(t, o, usual)
		}
		document, second := blocks(t, value), blocks(t, value)
		edit := func() []byte { return text(editedBlocks(t, document, value), editedBlocks(t, second, value)) }
		bases := [][]byte{text(document, second)}
		if rapid.IntRange(0, 2).Draw(t, "two") == 0 {
			document2, second2 := document, second
			newer := editedBlocks(t, document, value)
			bases = append([][]byte{text(newer, second)}, bases...)
			if rapid.Bool().Draw(t, "from newer") {
				document2 = newer
			}
			document, second = document2, second2
		}
		ours, others, theirs := edit(), edit(), bases[0]
		if rapid.IntRange(0, 3).Draw(t, "theirs") > 0 {
			theirs = edit()
		}
		pol := &merge.Policy{Strict: rapid.IntRange(0, 3).Draw(t, "strict") == 0, Adopt: rapid.IntRange(0, 3).Draw(t, "adopt") == 0}
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			pol.Rules = append(pol.Rules, merge.Rule{
				At:    rapid.SampledFrom([]string{"", "/*", "/list", "/in/list", "/in", "/**", "/list/*", "/list/*/of", "/in/list/3", "/20", "/*/id"}).Draw(t, "for"),
				Merge: rapid.SampledFrom(append(slices.Clone(excerptStrategies), merge.Ours, merge.Min)).Draw(t, "rule"),
			})
		}
		if rapid.IntRange(0, 3).Draw(t, "derive") == 0 {
			pol.Derived = []merge.Derivation{{At: rapid.SampledFrom([]string{"/n", "/in/n", "/list/*/n", "/**/n"}).Draw(t, "derived"), Compute: lengthOfText}}
		}
		if pol.Check() != nil {
			pol = nil
		}
		drawn.requireSame(t, merge.JSON, ours, others, theirs, bases, pol)
	})
	drawn.report(t)
}

// lengthOfText is derived from all that an object holds, but for itself.
func lengthOfText(ctx context.Context, object []byte) ([]byte, error) {
	d, err := merge.Parse(object, merge.JSON)
	if err != nil {
		return nil, err
	}
	n := 0
	err = d.Each(nil, func(key string, raw []byte) bool {
		if key != "n" {
			n += len(key) + len(raw)
		}
		return true
	})
	return fmt.Append(nil, n), err
}

// What depends on elements that are left out comes out as if they were there, or not at all.
func TestExcerptsOfLists(t *testing.T) {
	var elements []string
	for i := range 400 {
		elements = append(elements, fmt.Sprintf(`{"n": %d, "s": "lorem ipsum"}`, i))
	}
	with := func(list []string, i, gone int, added ...string) []string {
		return slices.Replace(slices.Clone(list), i, i+gone, added...)
	}
	changed := func(list []string, i, by int) []string {
		return with(list, i, 1, fmt.Sprintf(`{"n": %d, "s": "by %d"}`, i, by))
	}
	text := func(list []string) []byte {
		return fmt.Appendf(nil, "{\"a\": 1, \"head\": %q, \"l\": [%s], \"o\": {\"n\": 0, \"l\": [%s]}}\n", strings.Repeat("x", headSize), strings.Join(list, ", "), strings.Join(list, ", "))
	}
	rule := func(at string, s merge.Strategy) *merge.Policy {
		return &merge.Policy{Rules: []merge.Rule{{At: at, Merge: s}}}
	}
	put := with(elements, 100, 0, `{"n": -1}`)
	for name, c := range map[string]struct {
		pol                  *merge.Policy
		ours, others, theirs []string
		unfit                bool
	}{
		"put in and taken out":                        {nil, with(put, 300, 1), with(elements, 50, 1), with(elements, 350, 0, `{"n": -2}`), false},
		"both changed one behind a run":               {nil, changed(put, 301, 1), changed(elements, 300, 2), elements, false},
		"a rule for a place behind a run":             {rule("/l/301", merge.Theirs), changed(put, 301, 1), changed(put, 301, 2), put, false},
		"deleted from a list that grows":              {rule("/l", merge.Append), with(put, 301, 1), with(elements, 200, 1), elements, false},
		"added to a set that has it":                  {rule("/**", merge.Set), with(elements, 400, 0, elements[250]), with(elements, 100, 0, elements[300], `{"n": -1}`), put, false},
		"deleted from a set that has it twice":        {rule("/**", merge.Set), elements, elements, with(elements, 200, 0, elements[10]), false},
		"one that is taken whole":                     {rule("/l", merge.Atomic), put, put, elements, false},
		"one that is taken whole, into another style": {rule("/l", merge.Atomic), put, put, elements, true},
		"one that is taken whole, and changed":        {rule("/l", merge.Atomic), put, changed(elements, 300, 1), elements, true},
		"derived from what a list is in":              {&merge.Policy{Derived: []merge.Derivation{{At: "/o/n", Compute: lengthOfText}}}, put, elements, elements, true},
		"derived from what is beside it":              {&merge.Policy{Derived: []merge.Derivation{{At: "/x/n", Compute: lengthOfText}}}, put, elements, elements, false},
	} {
		t.Run(name, func(t *testing.T) {
			base, theirs := text(elements), text(c.theirs)
			if name == "one that is taken whole, into another style" {
				theirs = bytes.Replace(theirs, []byte(`"a": `), []byte(`"a":`), 1)
			}
			excerpts, expanded := requireSameByExcerpts(t, merge.JSON, text(c.ours), text(c.others), theirs, [][]byte{base}, 0, c.pol, 4000, 1000, 500)
			require.True(t, excerpts)
			require.Equal(t, !c.unfit, expanded)
		})
	}
}
