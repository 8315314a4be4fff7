package merge

import (
	"bytes"
	"slices"
	"sort"
)

// sideBySide reads texts at once, and finds the runs of children that they have in common. It goes from one place to the next where not
// all of them have the same byte. There the child that is being read is compared by value; where they differ, or not all have
// it, it looks for where they go on together: behind that child, at the next name that all have, or at the end of the container.
//
// The first text is a valid document. The others are as far as they were found to have the same bytes as that, in
// the same place of the same containers, or a child that was validated; what else they have stands in their excerpts.
type sideBySide struct {
	texts  []*excerptedText
	format Format
	limits excerptLimits
	strict bool

	at       int64   // in the first text
	runs     []int64 // where each stretch of the same bytes begins, in each text
	stack    []sharedLevel
	inString stringState
	closed   bool // the root

	children    []comparedChild // that are equal, and written differently
	differences int
	inRegion    []sharedRun // since the last difference
	found       []sharedRun
}

// sharedLevel is a container that is open in all texts. Its places are those in the first one.
type sharedLevel struct {
	kind   byte
	inside bool  // all containers around it are objects
	child  int64 // where the child begins that is being read
	ended  int64 // where it has ended, if it is a container; -1

	// Commas since the texts differed last; -1.
	first, second, beforeLast, last int64

	covers int // of inRegion: what comes later lies behind second
}

// sharedRun is a run of children: from the comma second to the comma end. first is the one before it.
type sharedRun struct {
	first, second, end int64
	list               bool
}

type comparedChild struct {
	at    int64
	alike []int
}

// read is false where nothing comes of it.
func (s *sideBySide) read() bool {
	n := len(s.texts)
	places := make([]int64, n)
	if s.format == Lines {
		s.stack = append(s.stack, levelAt(byte(kindLines), 0))
	}
	for {
		run := s.runs[len(s.runs)-n:]
		done := s.at - run[0]
		most := int(max(512, min(done, int64(s.limits.window))))
		ended := 0
		windows := make([][]byte, n)
		for i, t := range s.texts {
			places[i] = run[i] + done
			if windows[i] = t.from(places[i]); t.err != nil {
				return false
			}
			if len(windows[i]) == 0 {
				if places[i] < t.size {
					return false // it is shorter by now
				}
				ended++
			}
			most = min(most, len(windows[i]))
		}
		if ended == n {
			if s.format == Lines && len(s.stack) == 1 {
				s.keep(&s.stack[0], s.stack[0].beforeLast) // the last line stays, and its end
				s.stack, s.closed = nil, true
			}
			s.endRegion()
			return s.closed && len(s.stack) == 0
		}
		same := most
		for _, w := range windows[1:] {
			same = sameBytes(windows[0][:same], w)
		}
		if !s.feed(windows[0][:same]) {
			return false
		}
		s.at += int64(same)
		switch {
		case same == most && most > 0:
		case len(s.stack) == 0: // in front of the document, or behind it
			return s.closed && s.endAfterRoot()
		case !s.differ():
			return false
		}
	}
}

func sameBytes(x, y []byte) int {
	const some = 64
	n := min(len(x), len(y))
	i := 0
	for i+some <= n && bytes.Equal(x[i:i+some], y[i:i+some]) {
		i += some
	}
	for i < n && x[i] == y[i] {
		i++
	}
	return i
}

// feed follows the containers of what all texts have.
func (s *sideBySide) feed(p []byte) bool {
	for i := 0; i < len(p); i++ {
		if s.inString != outside {
			i = s.inString.goOn(p, i)
			continue
		}
		switch c := p[i]; c {
		case '"':
			s.inString = inString
		case '{', '[':
			if s.closed {
				return false
			}
			l := levelAt(c, s.at+int64(i)+1)
			if top := len(s.stack) - 1; top >= 0 {
				l.inside = s.stack[top].inside && s.stack[top].kind == '{'
			}
			s.stack = append(s.stack, l)
		case '}', ']':
			top := len(s.stack) - 1
			if top < 0 || s.stack[top].kind != c-2 {
				return false
			}
			l := &s.stack[top]
			s.keep(l, l.last)
			if s.stack = s.stack[:top]; top > 0 {
				s.stack[top-1].ended = s.at + int64(i) + 1
			} else {
				s.closed = true
			}
		case ',', '\n':
			top := len(s.stack) - 1
			lines := top == 0 && s.stack[0].kind == byte(kindLines)
			switch {
			case c == '\n' && !lines: // white space
			case top < 0 || c == ',' && lines:
				return false
			default:
				s.stack[top].comma(s, s.at+int64(i))
			}
		}
	}
	return true
}

func levelAt(kind byte, at int64) sharedLevel {
	return sharedLevel{kind: kind, inside: true, child: at, ended: -1, first: -1, second: -1, beforeLast: -1, last: -1}
}

func (l *sharedLevel) comma(s *sideBySide, at int64) {
	l.child, l.ended = at+1, -1
	switch {
	case at < headOfExcerpt || !l.inside:
	case l.first < 0:
		l.first = at
	case l.second < 0:
		l.second, l.covers = at, len(s.inRegion)
	default:
		l.beforeLast, l.last = l.last, at
	}
}

// keep notes the run of l up to a comma, if it is worth it, instead of those that lie in it.
func (s *sideBySide) keep(l *sharedLevel, end int64) {
	if l.second < 0 || end-l.second < int64(s.limits.least) {
		return
	}
	outside := s.inRegion[:l.covers]
	for _, r := range s.inRegion[l.covers:] {
		if r.second > end {
			outside = append(outside, r)
		}
	}
	s.inRegion = append(outside, sharedRun{l.first, l.second, end, kind(l.kind).list()})
}

// endRegion is where the texts differ. What they differ in keeps a child in front of it: the last comma is not yet the end of a run.
func (s *sideBySide) endRegion() {
	for k := len(s.stack) - 1; k >= 0; k-- {
		l := &s.stack[k]
		s.keep(l, l.beforeLast)
	}
	s.found = append(s.found, s.inRegion...)
	s.inRegion = s.inRegion[:0]
	for k := range s.stack {
		l := &s.stack[k]
		l.first, l.second, l.beforeLast, l.last = -1, -1, -1, -1
	}
}

// there is where, in text i, what the first has at a place stands that is the same in all.
func (s *sideBySide) there(at int64, i int) int64 {
	n := len(s.texts)
	k := sort.Search(len(s.runs)/n, func(k int) bool { return s.runs[k*n] > at }) - 1
	return s.runs[k*n+i] + at - s.runs[k*n]
}

// alikeIn says of each text which is the first that has the same bytes between two places.
func (s *sideBySide) alikeIn(from, to int64) []int {
	alike := make([]int, len(s.texts))
	first := sort.Search(len(s.children), func(k int) bool { return s.children[k].at >= from })
	for _, c := range s.children[first:] {
		if c.at >= to {
			break
		}
		before := slices.Clone(alike)
		for i := range alike {
			j := 0
			for before[j] != before[i] || c.alike[j] != c.alike[i] {
				j++
			}
			alike[i] = j
		}
	}
	return alike
}

// differ goes on where the texts have different bytes.
func (s *sideBySide) differ() bool {
	s.inString = outside
	s.leaveElement()
	top := &s.stack[len(s.stack)-1]
	behind := top.ended >= 0 // the value of the child
	begin := top.child
	if behind {
		begin = top.ended
	}
	children := make([]sharedChild, len(s.texts))
	for i, t := range s.texts {
		if !t.child(&children[i], top.kind, s.there(begin, i), s.limits.child) {
			return false
		}
		if !behind && !children[i].valid(top.kind) || behind && skipSpace(children[i].text, 0) < len(children[i].text) {
			return false
		}
	}
	alike := s.endAlike(children)
	if alike && s.equal(children) {
		s.children = append(s.children, comparedChild{begin, sameTexts(children)})
		return s.isSeldom(len(s.children), 256) && s.goOn(children, false)
	}
	s.endRegion()
	if s.differences++; !s.isSeldom(s.differences, 1<<10) {
		return false
	}
	if top.kind == '{' && alike && s.sameName(children) {
		return s.goOn(children, false)
	}
	if top.kind != '{' && !behind {
		if at := s.meetInList(top.kind, children); at != nil {
			return s.goOn(at, true)
		}
		if alike {
			return s.goOn(children, false)
		}
	}
	return s.meet(top.kind, children, behind)
}

// leaveElement goes from a place within an element of a list to that element: the next one may be another one. One that is too large for
// that is taken to be the same, changed inside.
func (s *sideBySide) leaveElement() {
	for k := range len(s.stack) - 1 {
		l := &s.stack[k]
		if l.kind == '{' || !l.inside {
			continue
		}
		var c sharedChild
		for i, t := range s.texts {
			if !t.child(&c, l.kind, s.there(l.child, i), s.limits.child) {
				return
			}
		}
		s.stack = s.stack[:k+1]
		return
	}
}

// endAfterRoot: what follows the document is white space, or it is no document.
func (s *sideBySide) endAfterRoot() bool {
	s.endRegion()
	for i, t := range s.texts {
		if t.size-s.there(s.at, i) > int64(s.limits.child) {
			return false
		}
	}
	return true
}

// isSeldom: to look at each of so many places costs less than to have the texts in memory.
func (s *sideBySide) isSeldom(many, bytes int) bool {
	const some = 64
	return many < some || s.at > int64(many*bytes)
}

// sharedChild is a member or an element, with the white space around it, up to the comma or bracket behind it. Of lines, what ends one is
// said to be a comma, and the end of the text a bracket.
type sharedChild struct {
	start, end  int64
	text        []byte
	behind      byte
	name, value []byte // value: nil for none, in an empty container
}

// child reads one from a place on.
func (t *excerptedText) child(c *sharedChild, container byte, at int64, most int) bool {
	w := t.atLeast(at, most)
	w = w[:min(len(w), most)]
	if container == byte(kindLines) {
		return t.line(c, w, at)
	}
	end := endOfChild(w)
	if end < 0 {
		return false
	}
	*c = sharedChild{start: at, end: at + int64(end), text: w[:end], behind: w[end]}
	return true
}

func (t *excerptedText) line(c *sharedChild, w []byte, at int64) bool {
	switch end := bytes.IndexByte(w, '\n'); {
	case end >= 0:
		*c = sharedChild{start: at, end: at + int64(end), text: w[:end], behind: ','}
	case at+int64(len(w)) == t.size:
		*c = sharedChild{start: at, end: t.size, text: w, behind: closing(byte(kindLines))}
	default:
		return false
	}
	return t.err == nil
}

// endOfChild is the index of the comma or bracket behind it, -1 if that is further on.
func endOfChild(src []byte) int {
	depth := 0
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '"':
			for i++; i < len(src) && src[i] != '"'; i++ {
				if src[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

// valid takes it apart. Of what is not there, only the first child of a container is valid.
func (c *sharedChild) valid(container byte) bool {
	i := skipSpace(c.text, 0)
	if i == len(c.text) {
		return c.behind == closing(container)
	}
	if c.behind != ',' && c.behind != closing(container) {
		return false
	}
	if container == '{' {
		end, value, err := ScanName(c.text, i)
		if err != nil {
			return false
		}
		c.name, i = c.text[i:end], value
	}
	end, err := scanValue(c.text, i)
	c.value = c.text[i:end]
	return err == nil && skipSpace(c.text, end) == len(c.text)
}

func (s *sideBySide) endAlike(children []sharedChild) bool {
	return !slices.ContainsFunc(children, func(c sharedChild) bool { return c.behind != children[0].behind })
}

func (s *sideBySide) sameName(children []sharedChild) bool {
	return !slices.ContainsFunc(children, func(c sharedChild) bool {
		return c.name == nil || children[0].name == nil || !equalStrings(c.name, children[0].name)
	})
}

func (s *sideBySide) equal(children []sharedChild) bool {
	for _, c := range children[1:] {
		first := children[0]
		if (c.value == nil) != (first.value == nil) || (c.name == nil) != (first.name == nil) {
			return false
		}
		if c.name != nil && !equalStrings(c.name, first.name) || c.value != nil && !equalValues(c.value, first.value, s.strict) {
			return false
		}
	}
	return true
}

// sameTexts says of each child which is the first that is written like it.
func sameTexts(children []sharedChild) []int {
	alike := make([]int, len(children))
	for i, c := range children {
		alike[i] = slices.IndexFunc(children, func(other sharedChild) bool { return bytes.Equal(other.text, c.text) })
	}
	return alike
}

// goOn continues behind a child of each text, or where it starts.
func (s *sideBySide) goOn(at []sharedChild, starts bool) bool {
	moved := false
	before := s.runs[len(s.runs)-len(at):]
	for i, c := range at {
		place := c.end
		if starts {
			place = c.start
		}
		moved = moved || place > before[i]
		s.runs = append(s.runs, place)
	}
	top := &s.stack[len(s.stack)-1]
	s.at, top.ended = s.runs[len(s.runs)-len(at)], -1
	if starts {
		top.child = s.at
	}
	return moved
}

// following are the children of a text from where it differs, as far as it is looked.
type following struct {
	children []sharedChild
	end      int64 // of the last one, or of the one in front
	closed   bool  // the container ends there
}

// follow reads on from a child, or with behind from what stands behind the value of one.
func (s *sideBySide) follow(t *excerptedText, c sharedChild, container byte, behind bool) (f following, ok bool) {
	begin := c.start
	if behind {
		if f.end, f.closed = c.end, c.behind != ','; f.closed {
			return f, c.behind == closing(container)
		}
		if !t.child(&c, container, c.end+1, s.limits.child) {
			return f, false
		}
	}
	for {
		c.text = bytes.Clone(c.text) // the window moves on
		if !c.valid(container) {
			return f, false
		}
		f.children, f.end, f.closed = append(f.children, c), c.end, c.behind != ','
		if f.closed || c.end-begin > int64(s.limits.child) || !t.child(&c, container, c.end+1, s.limits.child) {
			return f, true
		}
	}
}

// meet finds where the texts go on together that differ in which children they have.
func (s *sideBySide) meet(container byte, children []sharedChild, behind bool) bool {
	from := 0
	if !behind && s.sameName(children) {
		from = 1 // what differs is what stands behind it
	}
	all := make([]following, len(children))
	closed := true
	for i, t := range s.texts {
		var ok bool
		if all[i], ok = s.follow(t, children[i], container, behind); !ok {
			return false
		}
		closed = closed && all[i].closed
	}
	if container == '{' {
		if at := nextCommon(all, from); at != nil {
			return s.goOn(at, true)
		}
	}
	if !closed {
		return false
	}
	for i := range children {
		children[i].end = all[i].end
	}
	return s.goOn(children, false)
}

// meetInList finds the elements, as near as there are, with which lists go on together that have other elements here. Whether elements are
// paired like that, the merge finds out. nil: there are none nearby.
func (s *sideBySide) meetInList(container byte, children []sharedChild) []sharedChild {
	for most := min(s.limits.child, 1<<10); ; most = min(s.limits.child, 8*most) {
		near := *s
		near.limits.child = most
		all := make([]following, len(children))
		for i, t := range s.texts {
			var ok bool
			if all[i], ok = near.follow(t, children[i], container, false); !ok {
				return nil
			}
		}
		if at := nearestCommon(all); at != nil || most == s.limits.child {
			return at
		}
	}
}

// nearestCommon are the elements that all have with the fewest in front of them.
func nearestCommon(all []following) (at []sharedChild) {
	places := make([]map[uint64]int, len(all)) // the first of each value
	for i, f := range all {
		places[i] = map[uint64]int{}
		for k := len(f.children) - 1; k >= 0; k-- {
			if c := f.children[k]; c.value != nil {
				places[i][fingerprint(c.value)] = k
			}
		}
	}
	least := -1
	for _, c := range all[0].children {
		if c.value == nil {
			continue
		}
		print, passed := fingerprint(c.value), 0
		for _, p := range places {
			k, there := p[print]
			if !there {
				passed = -1
				break
			}
			passed += k
		}
		if passed < 0 || least >= 0 && passed >= least {
			continue
		}
		least, at = passed, nil
		for i, p := range places {
			at = append(at, all[i].children[p[print]])
		}
	}
	if least == 0 { // the first ones are the same: that is not where they differ
		return nil
	}
	return at
}

// nextCommon are the first members, from an index on, whose name all texts have.
func nextCommon(all []following, from int) []sharedChild {
	if len(all[0].children) <= from {
		return nil
	}
	for _, c := range all[0].children[from:] {
		at := make([]sharedChild, 0, len(all))
		for _, f := range all {
			i := slices.IndexFunc(f.children[min(from, len(f.children)):], func(other sharedChild) bool {
				return c.name != nil && other.name != nil && equalStrings(other.name, c.name)
			})
			if i < 0 {
				break
			}
			at = append(at, f.children[from+i])
		}
		if len(at) == len(all) {
			return at
		}
	}
	return nil
}

// stringState is where a reader is that goes over a valid text in parts.
type stringState byte

const (
	outside stringState = iota
	inString
	escaped // behind a backslash
)

// goOn goes on in a string to the quote that ends it, or to the end of p.
func (st *stringState) goOn(p []byte, i int) int {
	for i < len(p) {
		if *st == escaped {
			*st = inString
			i++
			continue
		}
		end := bytes.IndexByte(p[i:], '"')
		if end < 0 {
			end = len(p) - i
		}
		if slash := bytes.IndexByte(p[i:i+end], '\\'); slash >= 0 {
			*st = escaped
			i += slash + 1
			continue
		}
		if i += end; i < len(p) {
			*st = outside
			return i
		}
	}
	return i
}
