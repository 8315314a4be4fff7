package merge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

// keyedRecords are records of which most have a key of their own; some have none, or share it, or are no records.
func keyedRecords(t *rapid.T, atMost int) list {
	out := list{}
	odd := rapid.SampledFrom([]int{5, 20, 1000}).Draw(t, "odd")
	for i := range rapid.IntRange(2, atMost).Draw(t, "records") {
		if rapid.IntRange(0, odd).Draw(t, "kind") == 0 {
			out = append(out, oddElement(t, out))
			continue
		}
		out = append(out, record(t, rapid.SampledFrom([]any{number(fmt.Sprint(i)), fmt.Sprintf("é%d", i)}).Draw(t, "id")))
	}
	return out
}

func record(t *rapid.T, id any) *object {
	o := newObject()
	o.set("id", id)
	o.set("n", number(fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "n"))))
	switch rapid.IntRange(0, 5).Draw(t, "in") {
	case 0:
		o.set("in", keyedRecords(t, 3))
	case 1:
		o.set("in", "lorem ipsum")
	}
	return o
}

// oddElement has no key, or that of another one.
func oddElement(t *rapid.T, others list) any {
	switch how := rapid.IntRange(0, 4).Draw(t, "odd"); {
	case how < 2 && len(others) > 0:
		o, _ := others[rapid.IntRange(0, len(others)-1).Draw(t, "like")].(*object)
		if o == nil || how == 0 {
			return others[len(others)/2]
		}
		return record(t, o.values["id"])
	case how == 2:
		return rapid.SampledFrom([]any{number("1"), number("1.0"), nil, "é", list{}}).Draw(t, "no record")
	case how == 3:
		return record(t, rapid.SampledFrom([]any{nil, true, list{}, newObject()}).Draw(t, "no key"))
	}
	o := newObject()
	o.set("n", number("1"))
	return o
}

func editedRecords(t *rapid.T, l list, by string) list {
	l = slices.Clone(l)
	for range rapid.IntRange(0, 5).Draw(t, "edits") {
		at := rapid.IntRange(0, len(l)).Draw(t, "at")
		how := rapid.IntRange(0, 11).Draw(t, "how")
		if how < 3 || at == len(l) {
			id := any(by + fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "new")))
			if how == 0 {
				id = number(fmt.Sprint(rapid.IntRange(0, 100).Draw(t, "id")))
			}
			l = slices.Insert(l, at, any(record(t, id)))
			continue
		}
		switch o, _ := l[at].(*object); {
		case how == 3:
			l = slices.Delete(l, at, min(len(l), at+rapid.IntRange(1, 3).Draw(t, "gone")))
		case how == 4: // to another place
			e := l[at]
			l = slices.Delete(l, at, at+1)
			l = slices.Insert(l, rapid.IntRange(0, len(l)).Draw(t, "to"), e)
		case how == 5:
			l = slices.Insert(l, at, oddElement(t, l))
		case how == 6 && o != nil: // written in another way
			o = o.clone()
			if id, ok := o.values["id"].(number); ok && !strings.Contains(string(id), ".") {
				o.set("id", id+".0")
			}
			l[at] = o
		case how == 7 && o != nil: // another key
			o = o.clone()
			o.set("id", rapid.SampledFrom([]any{number("3"), number("7.0"), "é4", nil}).Draw(t, "id"))
			l[at] = o
		case how == 8 && o != nil:
			o = o.clone()
			if in, ok := o.values["in"].(list); ok {
				o.set("in", editedRecords(t, in, by))
			}
			l[at] = o
		case o != nil:
			o = o.clone()
			o.set("n", number(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "n"))))
			l[at] = o
		default:
			l[at] = oddElement(t, l)
		}
	}
	return l
}

// TestLawExcerptsOfRecords is TestLawExcerpts for lists of records that are merged by their key.
func TestLawExcerptsOfRecords(t *testing.T) {
	var drawn drawnExcerpts
	rapid.Check(t, func(t *rapid.T) {
		usual := anyDialect(t, "usual")
		where := rapid.IntRange(0, 2).Draw(t, "where")
		text := func(l, other list) []byte {
			head := strings.Repeat("x", headSize)
			o := newObject()
			o.set("head", head)
			switch where {
			case 0:
				return written(t, append(list{head}, l...), usual)
			case 1:
				o.set("list", l)
			default:
				in := newObject()
				in.set("list", l)
				o.set("in", in)
				o.set("list", other)
			}
			return written(t, o, usual)
		}
		document, second := keyedRecords(t, 60), keyedRecords(t, 20)
		edit := func(by string) []byte {
			return text(editedRecords(t, document, by), editedRecords(t, second, by))
		}
		bases := [][]byte{text(document, second)}
		if rapid.IntRange(0, 2).Draw(t, "two") == 0 {
			newer := editedRecords(t, document, "c")
			bases = append([][]byte{text(newer, second)}, bases...)
			if rapid.Bool().Draw(t, "from newer") {
				document = newer
			}
		}
		ours, others, theirs := edit("a"), edit("b"), bases[0]
		if rapid.IntRange(0, 3).Draw(t, "theirs") > 0 {
			theirs = edit(rapid.SampledFrom([]string{"a", "d"}).Draw(t, "by"))
		}
		pol := &merge.Policy{Strict: rapid.IntRange(0, 3).Draw(t, "strict") == 0, Rules: []merge.Rule{{
			At:    rapid.SampledFrom([]string{"/**", "/list", "/in/list", ""}).Draw(t, "keyed"),
			Merge: merge.Keyed,
			Key:   rapid.SampledFrom([][]string{{"id"}, {"id"}, {"id"}, {"n"}, {"id", "n"}, {"n", "id"}}).Draw(t, "key"),
		}}}
		if rapid.IntRange(0, 2).Draw(t, "more") == 0 {
			pol.Rules = append(pol.Rules, merge.Rule{
				At:    rapid.SampledFrom([]string{"/list/*", "/*", "/in/list/*/n", "/list/*/n", "/*/n", "/in/list/7", "/list/3/n", "/12", "/list/*/in"}).Draw(t, "for"),
				Merge: rapid.SampledFrom(slices.DeleteFunc(merge.Strategies(), func(s merge.Strategy) bool { return s == merge.Keyed || s == merge.Renumber })).Draw(t, "rule"),
			})
		}
		drawn.requireSame(t, merge.JSON, ours, others, theirs, bases, pol)
	})
	drawn.report(t)
}

// A record that is left out counts where one that is there has its key, or its value and no key.
func TestExcerptsOfRecords(t *testing.T) {
	var elements []string
	for i := range 400 {
		elements = append(elements, fmt.Sprintf(`{"id": %d, "s": "lorem ipsum"}`, i))
	}
	elements[250], elements[390] = `{"s": "no key"}`, `{"id": 380, "s": "twice"}`
	with := func(list []string, i, gone int, added ...string) []string {
		return slices.Replace(slices.Clone(list), i, i+gone, added...)
	}
	changed := func(list []string, i, by int) []string {
		return with(list, i, 1, fmt.Sprintf(`{"id": %d, "s": "by %d"}`, i, by))
	}
	text := func(list []string) []byte {
		return fmt.Appendf(nil, "{\"a\": 1, \"head\": %q, \"l\": [%s], \"o\": {\"n\": 0}}\n", strings.Repeat("x", headSize), strings.Join(list, ", "))
	}
	put := with(elements, 100, 0, `{"id": -1}`)
	for name, c := range map[string]struct {
		ours, others, theirs []string
		unfit                bool
	}{
		"put in and taken out":                   {with(put, 300, 1), with(elements, 50, 1), with(elements, 350, 0, `{"id": -2}`), false},
		"both changed one behind a run":          {changed(elements, 300, 1), changed(elements, 300, 2), put, false},
		"changed by one, deleted by the other":   {changed(elements, 300, 1), with(elements, 300, 1), with(put, 301, 1), false},
		"moved to another place":                 {with(with(elements, 300, 1), 100, 0, elements[300]), changed(elements, 300, 1), put, false},
		"another key":                            {with(elements, 300, 1, `{"id": -3, "s": "lorem ipsum"}`), changed(elements, 300, 1), elements, false},
		"a key that is left out":                 {with(elements, 300, 1, `{"id": 200, "s": "lorem ipsum"}`), elements, put, true},
		"a key that is left out, spelled anew":   {with(elements, 300, 0, `{"id": 2.0e2, "s": "lorem ipsum"}`), elements, put, true},
		"put in with a key that is left out":     {elements, put, with(elements, 300, 0, `{"id": 200}`), true},
		"another one without a key":              {with(elements, 300, 0, `{"s": "no key, neither"}`), elements, put, false},
		"the one without a key once more":        {with(elements, 300, 0, elements[250]), elements, put, true},
		"a key that is there twice, once more":   {with(elements, 300, 0, `{"id": 380}`), elements, put, true},
		"a third with a key that is there twice": {elements, with(elements, 390, 1), put, true},
	} {
		t.Run(name, func(t *testing.T) {
			pol := &merge.Policy{Rules: []merge.Rule{{At: "/l", Merge: merge.Keyed, Key: []string{"id"}}}}
			excerpts, expanded := requireSameByExcerpts(t, merge.JSON, text(c.ours), text(c.others), text(c.theirs), [][]byte{text(elements)}, 0, pol, 4000, 1000, 500)
			require.True(t, excerpts)
			require.Equal(t, !c.unfit, expanded)
		})
	}
}
