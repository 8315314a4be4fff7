package merge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

// headSize is more than what is never left out.
const headSize = 20 << 10

// longDocument has objects and lists with many members, behind what is never left out.
func longDocument(t *rapid.T) *object {
	records := func(some string) *object {
		o := newObject()
		for i := range rapid.IntRange(0, 40).Draw(t, some) {
			o.set(fmt.Sprintf("%s%02d", some, i), anyValue(t, 1))
		}
		return o
	}
	deep := newObject()
	deep.set("first", records("d"))
	deep.set("list", longList(t, 40))
	root := newObject()
	root.set("head", strings.Repeat("x", headSize))
	for i := range rapid.IntRange(0, 12).Draw(t, "members") {
		root.set(fmt.Sprintf("m%02d", i), anyValue(t, 1))
	}
	root.set("records", records("r"))
	root.set("deep", deep)
	if rapid.Bool().Draw(t, "tail") {
		for i := range rapid.IntRange(0, 12).Draw(t, "members") {
			root.set(fmt.Sprintf("z%02d", i), anyValue(t, 1))
		}
	}
	return root
}

// longList has elements of which some are equal.
func longList(t *rapid.T, atMost int) list {
	elements := list{}
	records := rapid.Bool().Draw(t, "records")
	for i := range rapid.IntRange(atMost/4, atMost).Draw(t, "elements") {
		e := anyValue(t, 1)
		if records && rapid.IntRange(0, 7).Draw(t, "other") > 0 {
			o := newObject()
			o.set("id", number(fmt.Sprint(i%rapid.SampledFrom([]int{3, 20, 1000, 1000}).Draw(t, "ids"))))
			o.set("of", e)
			e = o
		}
		elements = append(elements, e)
	}
	return elements
}

// editedList does a few things to a list.
func editedList(t *rapid.T, l list) list {
	l = slices.Clone(l)
	for range rapid.IntRange(0, 4).Draw(t, "edits") {
		at := rapid.IntRange(0, len(l)).Draw(t, "at")
		switch how := rapid.IntRange(0, 7).Draw(t, "how"); {
		case how == 0 || at == len(l):
			l = slices.Insert(l, at, anyValue(t, 1))
		case how == 1: // once more
			l = slices.Insert(l, rapid.IntRange(0, len(l)).Draw(t, "to"), l[at])
		case how == 2: // some of them, to another place
			end := rapid.IntRange(at, min(len(l), at+12)).Draw(t, "end")
			moved := slices.Clone(l[at:end])
			l = slices.Delete(l, at, end)
			l = slices.Insert(l, rapid.IntRange(0, len(l)).Draw(t, "to"), moved...)
		case how == 3:
			l = slices.Delete(l, at, min(len(l), at+rapid.IntRange(1, 3).Draw(t, "gone")))
		default:
			switch e := l[at].(type) {
			case *object:
				e = e.clone()
				e.set(rapid.SampledFrom([]string{"id", "of", "new"}).Draw(t, "member"), anyValue(t, 1))
				l[at] = e
			default:
				l[at] = anyValue(t, 1)
			}
		}
	}
	return l
}

// editedLong does a few things to a long document.
func editedLong(t *rapid.T, v *object) *object {
	v = v.clone()
	deep, _ := v.values["deep"].(*object)
	for range rapid.IntRange(0, 4).Draw(t, "edits") {
		in := v
		switch where := rapid.IntRange(0, 6).Draw(t, "where"); {
		case where < 2:
			in, _ = v.values["records"].(*object)
		case where == 2 && deep != nil:
			in, _ = deep.values["first"].(*object)
		case where > 2 && where < 6 && deep != nil:
			if l, ok := deep.values["list"].(list); ok {
				if rapid.IntRange(0, 7).Draw(t, "one") == 0 {
					deep.values["list"] = editOne(t, slices.Clone(l))
				} else {
					deep.values["list"] = editedList(t, l)
				}
			}
			continue
		}
		if in == nil || len(in.names) == 0 {
			continue
		}
		name := rapid.SampledFrom(in.names).Draw(t, "at")
		if name == "head" || name == "deep" || name == "records" {
			continue
		}
		switch rapid.IntRange(0, 5).Draw(t, "how") {
		case 0:
			in.delete(name)
		case 1: // a new one, somewhere
			added := rapid.SampledFrom([]string{"a", "n1", "n2", "q", "r05x", "zz", "é"}).Draw(t, "new")
			if _, there := in.values[added]; !there {
				in.values[added] = anyValue(t, 1)
				in.names = slices.Insert(in.names, slices.Index(in.names, name)+rapid.IntRange(0, 1).Draw(t, "behind"), added)
			}
		case 2: // another place
			value := in.values[name]
			in.delete(name)
			in.values[name] = value
			in.names = slices.Insert(in.names, rapid.IntRange(min(1, len(in.names)), len(in.names)).Draw(t, "place"), name)
		case 3:
			in.set("last"+name, anyValue(t, 1))
		default:
			in.set(name, anyValue(t, 1))
		}
	}
	return v
}

// written is a text of a document, as some program writes it; all of one document are mostly written alike.
func written(t *rapid.T, v any, usual dialect) []byte {
	d := usual
	if rapid.IntRange(0, 9).Draw(t, "other") == 0 {
		d = anyDialect(t, "dialect")
	}
	if rapid.IntRange(0, 2).Draw(t, "literals") == 0 {
		d.literal = pythonFloats
	}
	if rapid.IntRange(0, 5).Draw(t, "escapes") == 0 {
		d.ascii = !d.ascii
	}
	if rapid.IntRange(0, 5).Draw(t, "ends") == 0 {
		d.end = rapid.SampledFrom([]string{"", "\n", " \n"}).Draw(t, "end")
	}
	text := d.write(v)
	if rapid.IntRange(0, 15).Draw(t, "doubles") == 0 {
		text = bytes.Replace(text, []byte(`"r07"`), []byte(`"r03"`), 1)
	}
	if rapid.IntRange(0, 15).Draw(t, "spaces") == 0 {
		text = bytes.Replace(text, []byte(`"r08": `), []byte(`"r08"   :   `), 1)
	}
	return text
}

func textsOf(all ...[]byte) (texts []merge.Text) {
	for _, text := range all {
		texts = append(texts, merge.Text{ReaderAt: bytes.NewReader(text), Size: int64(len(text))})
	}
	return texts
}

func putBack(t require.TestingT, parts []merge.Part, texts []merge.Text) []byte {
	var out []byte
	for _, p := range parts {
		if p.Bytes != nil {
			out = append(out, p.Bytes...)
			continue
		}
		part, err := io.ReadAll(io.NewSectionReader(texts[p.Text], p.From, p.To-p.From))
		require.NoError(t, err)
		out = append(out, part...)
	}
	return out
}

// drawnExcerpts counts what a law was tried on.
type drawnExcerpts struct{ all, made, expanded int }

func (d *drawnExcerpts) requireSame(t *rapid.T, f merge.Format, ours, others, theirs []byte, bases [][]byte, pol *merge.Policy) {
	child := rapid.SampledFrom([]int{64, 300, 2000}).Draw(t, "child")
	likely := rapid.IntRange(0, len(bases)-1).Draw(t, "likely")
	window := child + rapid.IntRange(0, 3000).Draw(t, "window")
	made, expanded := requireSameByExcerpts(t, f, ours, others, theirs, bases, likely, pol, window, child, rapid.IntRange(1, 60).Draw(t, "least"))
	d.all++
	if made {
		d.made++
	}
	if expanded {
		d.expanded++
	}
}

func (d *drawnExcerpts) report(t *testing.T) {
	t.Logf("%d texts, %d with excerpts, %d of them put together", d.all, d.made, d.expanded)
	require.Positive(t, d.expanded)
}

// requireSameByExcerpts holds what is done to excerpts of texts to what is done to the texts: which base ours was made from, and the
// outcome of one merge after the other. It says whether there were excerpts, and whether the outcome could be put together.
func requireSameByExcerpts(t require.TestingT, f merge.Format, ours, others, theirs []byte, bases [][]byte, likely int, pol *merge.Policy, window, child, least int) (excerpts, expanded bool) {
	texts := textsOf(append([][]byte{ours, others, theirs}, bases...)...)
	x, err := merge.SmallExcerpts(texts, f, pol, window, child, least)
	require.NoError(t, err)
	if x == nil {
		return false, false
	}
	require.Positive(t, x.Gaps())
	var short [][]byte
	for i := range bases {
		short = append(short, x.Text(3+i))
	}
	show := fmt.Sprintf("ours %s\nothers %s\ntheirs %s\nbases %s\nexcerpts\n%s\n%s\n%s\n%s", ours[headSize:], others[headSize:], theirs[headSize:], tails(bases),
		x.Text(0)[headSize:], x.Text(1)[headSize:], x.Text(2)[headSize:], tails(short))
	from := merge.MadeFrom(ours, bases, likely, f, pol)
	short0 := merge.MadeFrom(x.Text(0), short, likely, f, x.Under(pol))
	if !x.Fit() {
		return true, false
	}
	require.Equal(t, from, short0, show)
	for i, a := range texts {
		for j, b := range texts {
			require.Equal(t, bytes.Equal(whole(a), whole(b)), x.Same(i, j), show)
		}
	}
	merged := func(ours, others, theirs, base []byte, pol *merge.Policy) (*merge.Document, []merge.Conflict) {
		d, err := merge.Parse(theirs, f)
		require.NoError(t, err, show)
		var conflicts []merge.Conflict
		for _, version := range [][]byte{others, ours} {
			c, err := merge.Diff(base, version, f, pol)
			require.NoError(t, err, show)
			outcome, err := d.Merge(c, pol)
			require.NoError(t, err, show)
			conflicts = append(conflicts, outcome.Conflicts...)
		}
		require.Empty(t, d.Derive(context.Background(), theirs, pol))
		return d, conflicts
	}
	want, wantConflicts := merged(ours, others, theirs, bases[from], pol)
	got, conflicts := merged(x.Text(0), x.Text(1), x.Text(2), short[from], x.Under(pol))
	parts, ok := x.Expand(got, conflicts)
	if !ok {
		return true, false
	}
	if back := putBack(t, parts, texts); !bytes.Equal(want.Bytes(), back) {
		require.Equal(t, string(want.Bytes()[headSize:]), string(back[headSize:]), show)
	}
	require.Equal(t, wantConflicts, conflicts, show)
	return true, true
}

var excerptStrategies = []merge.Strategy{
	merge.Theirs, merge.Sum, merge.Delete, merge.Fail, merge.Max, merge.Append, merge.Append, merge.Set, merge.Set, merge.Atomic, merge.First, merge.Last,
}

// countMembers is derived from all of an object.
func countMembers(_ context.Context, object []byte) ([]byte, error) {
	d, err := merge.Parse(object, merge.JSON)
	if err != nil {
		return nil, err
	}
	n := 0
	err = d.Each(nil, func(key string, _ []byte) bool {
		if key != "n" && key != "a" {
			n++
		}
		return true
	})
	return fmt.Append(nil, n), err
}

func whole(text merge.Text) []byte {
	all, _ := io.ReadAll(io.NewSectionReader(text, 0, text.Size))
	return all
}

func tails(all [][]byte) string {
	var out strings.Builder
	for _, text := range all {
		fmt.Fprintf(&out, "%s\n", text[headSize:])
	}
	return out.String()
}

func TestLawExcerpts(t *testing.T) {
	var drawn drawnExcerpts
	rapid.Check(t, func(t *rapid.T) {
		usual := anyDialect(t, "usual")
		document := longDocument(t)
		bases := [][]byte{written(t, document, usual)}
		if rapid.Bool().Draw(t, "two") {
			newer := editedLong(t, document)
			bases = append([][]byte{written(t, newer, usual)}, bases...)
			if rapid.Bool().Draw(t, "from newer") {
				document = newer
			}
		}
		ours, others := written(t, editedLong(t, document), usual), written(t, editedLong(t, document), usual)
		theirs := bases[0]
		if rapid.IntRange(0, 3).Draw(t, "theirs") > 0 {
			theirs = written(t, editedLong(t, document), usual)
		}
		var pol *merge.Policy
		switch rapid.IntRange(0, 5).Draw(t, "policy") {
		case 0:
			pol = &merge.Policy{Strict: true, Adopt: true}
		case 1, 2:
			pol = &merge.Policy{Rules: []merge.Rule{{
				At:    rapid.SampledFrom([]string{"/records/*", "/deep/list", "/deep/list/*", "/deep/list/7", "/**"}).Draw(t, "for"),
				Merge: rapid.SampledFrom(excerptStrategies).Draw(t, "rule"),
			}}, Strict: rapid.IntRange(0, 3).Draw(t, "strict") == 0}
		case 3:
			pol = &merge.Policy{Derived: []merge.Derivation{{At: rapid.SampledFrom([]string{"/records/*/a", "/records/n", "/n", "/**/n"}).Draw(t, "for"), Compute: countMembers}}}
		}
		drawn.requireSame(t, merge.JSON, ours, others, theirs, bases, pol)
	})
	drawn.report(t) // a third of all
}

// What differs in few places is found, wherever and whatever it is.
func TestExcerpt(t *testing.T) {
	var members, elements []string
	for i := range 400 {
		members = append(members, fmt.Sprintf(`"r%03d": {"n": %d, "s": "lorem ipsum"}`, i, i))
		elements = append(elements, fmt.Sprintf(`{"n": %d, "s": "lorem ipsum"}`, i))
	}
	document := func(members, elements []string) string {
		return fmt.Sprintf("{\"head\": %q, \"o\": {%s},\n\"l\": [%s], \"z\": {}}\n", strings.Repeat("x", headSize), strings.Join(members, ", "), strings.Join(elements, ", "))
	}
	whole := document(members, elements)
	with := func(list []string, i, gone int, added ...string) []string {
		return slices.Replace(slices.Clone(list), i, i+gone, added...)
	}
	const record = `{"n": -1, "s": "other"}`
	for name, c := range map[string]struct {
		other string
		gaps  int // 0: nothing comes of it
	}{
		"nothing":                     {whole, 2},
		"changed":                     {document(with(members, 200, 1, `"r200": `+record), elements), 3},
		"added in the middle":         {document(with(members, 200, 0, `"new": `+record), elements), 3},
		"added at the end":            {document(with(members, 400, 0, `"new": `+record), elements), 2},
		"added in front":              {document(with(members, 0, 0, `"new": `+record), elements), 2},
		"deleted":                     {document(with(members, 200, 1), elements), 3},
		"another name":                {document(with(members, 200, 1, `"R200": {"n": 200, "s": "lorem ipsum"}`), elements), 3},
		"written in another way":      {document(with(members, 200, 1, `"r\u003200" : {"s": "lorem\u0020ipsum", "n" :2e2 }`), elements), 2},
		"moved":                       {document(with(with(members, 200, 1), 300, 0, members[200]), elements), 4},
		"an element changed":          {document(members, with(elements, 200, 1, record)), 3},
		"two elements changed":        {document(members, with(with(elements, 200, 1, record), 100, 1, record)), 4},
		"an element gone":             {document(members, with(elements, 200, 1)), 3},
		"elements gone and put in":    {document(members, with(with(elements, 200, 3), 100, 0, record, record)), 4},
		"an element at the end":       {document(members, with(elements, 400, 0, record)), 2},
		"an element in the middle":    {document(members, with(elements, 200, 0, record)), 3},
		"a key at the end":            {strings.Replace(whole, "{}}\n", "{}, \"new\": 1}\n", 1), 2},
		"a name that was there":       {document(with(members, 200, 1, `"r100": `+record), elements), 0},
		"an end":                      {strings.TrimSpace(whole), 2},
		"another end":                 {whole + "\n\r\n ", 2},
		"more behind it":              {whole + "1", 0},
		"cut":                         {whole[:len(whole)-3], 0},
		"a comma too many":            {document(with(members, 200, 1, `"r200": {"n": 200, "s": "lorem ipsum"},`), elements), 0},
		"another bracket":             {strings.Replace(whole, `}, {"n": 200`, `], {"n": 200`, 1), 0},
		"white space in front":        {" " + whole, 0},
		"no object":                   {"[" + whole + "]", 0},
		"the first newline is left":   {strings.Replace(whole, `"n": 200`, "\n\"n\": 200", 1), 0},
		"nothing else than the other": {"{}", 0},
	} {
		t.Run(name, func(t *testing.T) {
			texts := textsOf([]byte(whole), []byte(c.other))
			x, err := merge.SmallExcerpts(texts, merge.JSON, nil, 4000, 1000, 500)
			require.NoError(t, err)
			if c.gaps == 0 {
				require.Nil(t, x)
				return
			}
			require.NotNil(t, x)
			require.Equal(t, c.gaps, x.Gaps(), string(x.Text(1)[headSize:]))
			for i, text := range []string{whole, c.other} {
				d, err := merge.Parse(x.Text(i), merge.JSON)
				require.NoError(t, err)
				parts, ok := x.Expand(d, nil)
				require.True(t, ok)
				require.Equal(t, text, string(putBack(t, parts, texts)))
			}
			change, err := merge.Diff(x.Text(0), x.Text(1), merge.JSON, x.Under(nil))
			require.NoError(t, err)
			require.True(t, x.Fit())
			want, err := merge.Diff([]byte(whole), []byte(c.other), merge.JSON, nil)
			require.NoError(t, err)
			require.Len(t, change.Edits(), len(want.Edits()))
		})
	}
}

func TestExcerptsOfWhatCannotBeRead(t *testing.T) {
	text := bytes.Repeat([]byte(`{"a": [1, 2, 3], "b": {"c": 1, "d": 2, "e": 3}, "x": 1, "y": 2}`), 1)
	text = []byte(fmt.Sprintf(`{"head": %q, "m": [%s1]}`, strings.Repeat("x", headSize), bytes.Repeat(append(text, ','), 50)))
	failing := merge.Text{ReaderAt: failingAt{bytes.NewReader(text), int64(len(text) - 100)}, Size: int64(len(text))}
	_, err := merge.SmallExcerpts([]merge.Text{textsOf(text)[0], failing}, merge.JSON, nil, 4000, 1000, 500)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	for _, wrong := range []int64{-10, 10} {
		other := textsOf(text)[0]
		other.Size -= wrong
		x, err := merge.SmallExcerpts([]merge.Text{textsOf(text)[0], other}, merge.JSON, nil, 4000, 1000, 500)
		require.NoError(t, err)
		require.Nil(t, x, "shorter or longer by now")
	}
	for _, pol := range []*merge.Policy{
		{Rules: []merge.Rule{{At: "/m", Merge: merge.Renumber}}},
		{Duplicates: "reject"}, {Renames: make([]merge.Rename, 1)},
	} {
		require.False(t, pol.TakesExcerpts())
		x, err := merge.SmallExcerpts(textsOf(text, text), merge.JSON, pol, 4000, 1000, 500)
		require.NoError(t, err)
		require.Nil(t, x)
	}
}

type failingAt struct {
	io.ReaderAt
	from int64
}

func (f failingAt) ReadAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > f.from {
		return 0, io.ErrClosedPipe
	}
	return f.ReaderAt.ReadAt(p, at)
}

func FuzzExcerpts(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), []byte(s), []byte(`{"a":1}`), []byte(s), 20, 5)
	}
	f.Add([]byte(`{"a":1,"b":2,"c":3,"d":4,"e":5}`), []byte(`{"a":1,"b":2.0,"c":3,"d":4,"e":6}`), []byte(`{"a":0,"b":2,"c":3,"d":4,"e":5,"f":[1]}`), []byte(`{"a":1,"b":2,"c":3,"d":4,"e":5}`), 30, 1)
	f.Add([]byte(`[1,2,3,4,5,6]`), []byte(`[1,2,3,4,5,6,7]`), []byte(`[1,2,3,4,0,6]`), []byte(`[1,2,3,4,5,6]`), 30, 1)
	f.Fuzz(func(t *testing.T, ours, others, theirs, base []byte, child, least int) {
		child, least = 8+child&0xff, 1+least&0x1f
		valid := true
		wrap := func(src []byte) []byte {
			text := fmt.Appendf(nil, `{"head": %q, "o": %s, "l": [%s, 1, 2, 3], "p": 1, "q": 1, "r": 1}`, strings.Repeat("x", headSize), src, src)
			valid = valid && merge.Valid(text, merge.JSON) == nil
			return text
		}
		ours = wrap(ours)
		if !valid {
			return
		}
		others, theirs, base = wrap(others), wrap(theirs), wrap(base)
		if !valid {
			x, err := merge.SmallExcerpts(textsOf(ours, others, theirs, base), merge.JSON, nil, 2*child, child, least)
			require.NoError(t, err)
			require.Nil(t, x, "one of them is no document")
			return
		}
		requireSameByExcerpts(t, merge.JSON, ours, others, theirs, [][]byte{base}, 0, nil, 2*child, child, least)
	})
}
