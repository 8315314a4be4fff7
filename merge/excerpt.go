package merge

import (
	"bytes"
	"cmp"
	"io"
	"slices"
)

// Excerpts are texts of which most is left out: long runs of members or elements that all of them have, equal by value and one behind
// the other, in one and the same container. In place of each run there is one member or element, which no text has otherwise.
// What is done to the excerpts, by [MadeFrom], [Diff], [Document.Merge] and [Document.Derive] under the policy [Excerpts.Under], is what
// would be done to the texts, because all that they look at is there or known; [Excerpts.Fit] says where it is not, and
// [Excerpts.Expand] puts the runs back. So versions of a large document are merged that differ in a few
// places, and none of them is ever in memory.
//
// It is for policies that [Policy.TakesExcerpts].
type Excerpts struct {
	texts  []*excerptedText
	format Format
	gaps   []gap
	left   *leftOut
}

// excerptedText is one of the texts, read through a window.
type excerptedText struct {
	r       io.ReaderAt
	size    int64
	at      int64 // of the window
	window  []byte
	rest    [][]byte // what is not left out: in front of each gap, and behind the last
	excerpt []byte
	err     error
}

// gap is a run that was left out.
type gap struct {
	list   bool
	before int64      // first text: where the child in front of it begins, which is not left out
	places []gapPlace // in each text
	marks  [][]byte   // what stands there instead: equal by value, and written alike where the run is
	alike  []int      // for each text: the first one that has the same bytes there
	token  string     // which no text has otherwise
}

type gapPlace struct{ start, end int64 }

// Text is a text to make an excerpt of.
type Text struct {
	io.ReaderAt
	Size int64
}

// excerptLimits are variable for tests.
type excerptLimits struct {
	window int // of each text that is looked at at once
	child  int // the largest child that is compared by value, and how far it is looked for where two texts go on together
	least  int // bytes of a run that is worth leaving out
	most   func(size int64) int64
}

var usualExcerpts = excerptLimits{window: 128 << 10, child: 32 << 10, least: 2 << 10, most: func(size int64) int64 { return 256<<10 + size/16 }}

// headOfExcerpt is what is never left out: by it, it is seen how a text is written, see readLayout.
const headOfExcerpt = 18 << 10

// Excerpt looks for what texts have in common. The first one has to be a whole document; that what is left out of others is
// no less is found on the way. It is nil where they differ in too much or in ways that it does not follow, or where one of them is no
// document. The error is one of reading.
func Excerpt(texts []Text, f Format, pol *Policy) (*Excerpts, error) {
	return excerptOf(texts, f, pol, usualExcerpts)
}

func excerptOf(texts []Text, f Format, pol *Policy, limits excerptLimits) (*Excerpts, error) {
	if !pol.TakesExcerpts() || len(texts) == 0 || len(texts) > 64 {
		return nil, nil
	}
	x := &Excerpts{format: f, left: &leftOut{runs: map[string]*elementsLeft{}}}
	for _, t := range texts {
		x.texts = append(x.texts, &excerptedText{r: t.ReaderAt, size: t.Size, window: make([]byte, 0, limits.window)})
	}
	s := sideBySide{texts: x.texts, format: f, limits: limits, strict: pol.strict(), runs: make([]int64, len(texts))}
	ok := s.read() && x.leaveOut(&s) && x.readRest() && x.mark() && x.write()
	for _, t := range x.texts {
		if t.err == nil && ok {
			ok = !t.longer()
		}
		t.window = nil
		if t.err != nil {
			return nil, t.err
		}
	}
	if !ok {
		return nil, nil
	}
	return x, nil
}

// TakesExcerpts says that under this policy what happens at one place depends on nothing that is the same in all versions but on what
// is known of that.
func (p *Policy) TakesExcerpts() bool {
	if p == nil {
		return true
	}
	return len(p.Renames) == 0 && p.Duplicates == "" && !slices.ContainsFunc(p.Rules, func(r Rule) bool {
		return r.Merge == Renumber
	})
}

// Text is the excerpt of a text. It must not be modified.
func (x *Excerpts) Text(i int) []byte { return x.texts[i].excerpt }

// Part is a part of a text: Bytes, or, where that is nil, what stands in one of the texts.
type Part struct {
	Bytes    []byte
	Text     int
	From, To int64
}

// Expand puts back what was left out of a document that was made of the excerpts by merging, with these conflicts. It is false where it
// cannot: the outcome of merging the texts themselves may be another.
func (x *Excerpts) Expand(d *Document, conflicts []Conflict) ([]Part, bool) {
	if slices.ContainsFunc(conflicts, x.concerns) {
		return nil, false
	}
	text := d.Bytes()
	if !x.Fit() {
		return nil, false
	}
	for i, t := range x.texts {
		if bytes.Equal(text, t.excerpt) {
			return []Part{{Text: i, To: t.size}}, true
		}
	}
	var out []Part
	rest := text
	for _, g := range x.gaps {
		start, end, i := g.in(rest)
		if i < 0 {
			return nil, false
		}
		out = append(out, Part{Bytes: rest[:start]}, Part{Text: i, From: g.places[i].start, To: g.places[i].end})
		rest = rest[end:]
	}
	return append(out, Part{Bytes: rest}), x.marksIn(text) == len(x.gaps)
}

// in finds what stands in the place of the gap, and whose bytes belong there; -1: not there.
func (g *gap) in(text []byte) (start, end, of int) {
	number := []byte(g.token + ".")
	at := bytes.Index(text, number)
	if at < 0 {
		return 0, 0, -1
	}
	for i, mark := range g.marks {
		start := at - bytes.Index(mark, number)
		if start < 0 || !bytes.HasPrefix(text[start:], mark) {
			continue
		}
		if end = start + len(mark); end == len(text) || text[end] != '0' {
			return start, end, i
		}
	}
	return 0, 0, -1
}

// Same says whether two of the texts are, byte for byte.
func (x *Excerpts) Same(i, j int) bool { return bytes.Equal(x.texts[i].excerpt, x.texts[j].excerpt) }

// concerns: what is left out is in the conflict.
func (x *Excerpts) concerns(c Conflict) bool {
	return x.marksIn(c.Base)+x.marksIn(c.Ours)+x.marksIn(c.Theirs) > 0
}

// marksIn counts what was left out of a text, however it is written there.
func (x *Excerpts) marksIn(text []byte) int {
	n := 0
	for _, g := range x.gaps {
		n += bytes.Count(text, []byte(g.token+"."))
	}
	return n
}

// leaveOut finds the place of each run in each text.
func (x *Excerpts) leaveOut(s *sideBySide) bool {
	slices.SortFunc(s.found, func(a, b sharedRun) int { return cmp.Compare(a.second, b.second) })
	for _, r := range s.found {
		g := gap{list: r.list, before: r.first + 1, alike: s.alikeIn(r.second, r.end)}
		for i, t := range x.texts {
			start, ok := t.space(s.there(r.second, i)+1, 1)
			end, also := t.space(s.there(r.end, i)-1, -1)
			if !ok || !also || end+1 <= start {
				return false
			}
			g.places = append(g.places, gapPlace{start, end + 1})
		}
		if slices.ContainsFunc(g.places, func(p gapPlace) bool { return p.start < headOfExcerpt }) {
			continue
		}
		x.gaps = append(x.gaps, g)
	}
	for i, t := range x.texts {
		left := t.size
		for _, g := range x.gaps {
			left -= g.places[i].end - g.places[i].start
		}
		if left > s.limits.most(t.size) {
			return false
		}
	}
	return len(x.gaps) > 0
}

// from is the text from a place on, as much of it as is in the window, or will be.
func (t *excerptedText) from(at int64) []byte { return t.atLeast(at, 1) }

// atLeast is from, with n bytes if there are so many: no more than a window has.
func (t *excerptedText) atLeast(at int64, n int) []byte {
	if at < t.at || min(at+int64(n), t.size) > t.at+int64(len(t.window)) {
		t.at, t.window = at, t.window[:min(int64(cap(t.window)), max(0, t.size-at))]
		if read, err := t.r.ReadAt(t.window, at); read < len(t.window) {
			if t.window = t.window[:0]; err != nil && err != io.EOF {
				t.err = err
			}
		}
	}
	if at-t.at >= int64(len(t.window)) {
		return nil
	}
	return t.window[at-t.at:]
}

// space passes over white space, forwards or backwards.
func (t *excerptedText) space(at, step int64) (int64, bool) {
	var few [64]byte
	for at >= 0 && at < t.size {
		from := at
		if step < 0 {
			from = max(0, at-int64(len(few))+1)
		}
		part := few[:min(int64(len(few)), t.size-from)]
		if n, err := t.r.ReadAt(part, from); n < len(part) {
			if err != nil && err != io.EOF {
				t.err = err
			}
			return 0, false
		}
		for ; at >= from && at < from+int64(len(part)); at += step {
			if skipSpace(part[at-from:at-from+1], 0) == 0 {
				return at, true
			}
		}
	}
	return 0, false
}

// part reads a part of the text.
func (t *excerptedText) part(from, to int64) []byte {
	out := make([]byte, to-from)
	if n, err := t.r.ReadAt(out, from); n < len(out) {
		if t.err = err; err == io.EOF {
			t.err = io.ErrUnexpectedEOF
		}
	}
	return out
}

// longer: somebody appends to it this very moment.
func (t *excerptedText) longer() bool {
	n, _ := t.r.ReadAt(make([]byte, 1), t.size)
	return n > 0
}
