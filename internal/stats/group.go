package stats

import (
	"fmt"
	"slices"
	"strings"

	"jsonguard/internal/records"
	"jsonguard/merge"
)

// Result is what a query found.
type Result struct {
	Records int
	Groups  []Group // in the order of their keys, see Compare
	Skipped []Skipped
}

// Group are the records that have the same values at the fields of By.
type Group struct {
	Key     [][]byte // JSON text, of the first record; nil where the record has no such field
	Records int
	Values  [][]byte // JSON text; nil where there was no value to calculate with
}

// Skipped are values that an aggregate could not calculate with: a string in a mean, NaN.
type Skipped struct {
	Aggregate Aggregate
	Count     int
	Example   []byte // JSON text of the first one
}

// NoRecordsError: the pattern matches nothing.
type NoRecordsError struct {
	Pattern merge.Pattern
	Nearest records.Nearest
}

func (e *NoRecordsError) Error() string {
	return fmt.Sprintf("no value is matched by %s", merge.Pointer(e.Pattern))
}

// NoFieldError: no record has that field.
type NoFieldError struct {
	Field   Field
	Records int
	Names   []string // that records have, the most frequent first; none where they are no objects
}

func (e *NoFieldError) Error() string {
	return fmt.Sprintf("none of %d records has a field %s", e.Records, e.Field)
}

// Run reads src once, or twice where a name comes twice on the way to records. The error is a *merge.SyntaxError, a
// *NoRecordsError, a *NoFieldError, or about the query.
func Run(src []byte, q Query) (*Result, error) {
	g := grouping{query: q}
	scan, err := g.prepare(src)
	if err != nil {
		return nil, err
	}
	g.reset()
	if err := scan.Each(g.record, g.reset); err != nil {
		return nil, err
	}
	if g.records == 0 {
		return nil, &NoRecordsError{q.Records, scan.Nearest()}
	}
	if err := g.missingFields(src); err != nil {
		return nil, err
	}
	return g.result(), nil
}

// grouping is a query under way.
type grouping struct {
	query    Query
	pointers []merge.Pointer
	by       []source
	of       []source // of each aggregate

	records int
	present []int // of each pointer: in how many records
	bySpell map[string]*group
	byValue map[string]*group
	groups  []*group
	skipped []Skipped
	key     []byte
}

// source is where a value comes from: an index into the fields of a record, or a wildcard.
type source struct{ field, wildcard int }

type group struct {
	key     [][]byte
	records int
	cells   []cell
}

func (g *grouping) prepare(src []byte) (*records.Scan, error) {
	for _, f := range g.query.By {
		g.by = append(g.by, g.source(f))
	}
	for _, a := range g.query.Aggregates {
		g.of = append(g.of, g.source(a.Field))
	}
	scan, err := records.New(src, g.query.Format, g.query.Records, g.pointers...)
	if err != nil {
		return nil, err
	}
	for _, s := range append(g.by, g.of...) {
		if have := scan.Wildcards(); s.wildcard > have {
			return nil, fmt.Errorf("@%d: the pattern %s has %d wildcards", s.wildcard, merge.Pointer(g.query.Records), have)
		}
	}
	return scan, nil
}

func (g *grouping) source(f Field) source {
	if f.Wildcard > 0 {
		return source{wildcard: f.Wildcard}
	}
	for i, p := range g.pointers {
		if slices.Equal(p, f.At) {
			return source{field: i}
		}
	}
	g.pointers = append(g.pointers, f.At)
	return source{field: len(g.pointers) - 1}
}

func (s source) of(r *records.Record) []byte {
	if s.wildcard > 0 {
		return r.Wildcard(s.wildcard - 1)
	}
	return r.Fields[s.field]
}

func (g *grouping) reset() {
	g.records, g.present = 0, make([]int, len(g.pointers))
	g.bySpell, g.byValue, g.groups = map[string]*group{}, map[string]*group{}, nil
	g.skipped = nil
	for _, a := range g.query.Aggregates {
		g.skipped = append(g.skipped, Skipped{Aggregate: a})
	}
	if len(g.by) == 0 {
		g.newGroup(nil)
	}
}

func (g *grouping) newGroup(key [][]byte) *group {
	made := &group{key: key, cells: make([]cell, len(g.query.Aggregates))}
	g.groups = append(g.groups, made)
	return made
}

func (g *grouping) record(r *records.Record) error {
	g.records++
	for i, f := range r.Fields {
		if f != nil {
			g.present[i]++
		}
	}
	in := g.groupOf(r)
	in.records++
	for i, s := range g.of {
		raw := s.of(r)
		if raw == nil || raw[0] == 'n' && g.query.Aggregates[i].hasField() {
			continue
		}
		if !in.cells[i].add(g.query.Aggregates[i].Func, raw) {
			if g.skipped[i].Count++; g.skipped[i].Example == nil {
				g.skipped[i].Example = raw
			}
		}
	}
	return nil
}

// hasField: count alone counts records, null ones too.
func (a Aggregate) hasField() bool {
	return a.Func != Count || a.Field.Wildcard > 0 || len(a.Field.At) > 0
}

// groupOf finds the group of a record by how its key is written, and what is written in a new way by its value.
func (g *grouping) groupOf(r *records.Record) *group {
	if len(g.by) == 0 {
		return g.groups[0]
	}
	g.key = g.key[:0]
	for _, s := range g.by {
		g.key = appendPart(g.key, s.of(r))
	}
	if in, ok := g.bySpell[string(g.key)]; ok {
		return in
	}
	spelled := string(g.key)
	g.key = g.key[:0]
	var key [][]byte
	for _, s := range g.by {
		raw := s.of(r)
		key = append(key, raw)
		g.key = appendPart(g.key, canonical(raw))
	}
	in, ok := g.byValue[string(g.key)]
	if !ok {
		in = g.newGroup(key)
		g.byValue[string(g.key)] = in
	}
	g.bySpell[spelled] = in
	return in
}

// appendPart adds a value to a key. No JSON text holds the bytes that end the parts.
func appendPart(key, raw []byte) []byte {
	if raw == nil {
		return append(key, 1)
	}
	return append(append(key, raw...), 0)
}

func canonical(raw []byte) []byte {
	if raw == nil {
		return nil
	}
	return merge.AppendCanonical(nil, raw)
}

func (g *grouping) result() *Result {
	out := &Result{Records: g.records}
	for _, in := range g.groups {
		group := Group{Key: in.key, Records: in.records}
		for i := range in.cells {
			group.Values = append(group.Values, in.cells[i].result(g.query.Aggregates[i]))
		}
		out.Groups = append(out.Groups, group)
	}
	slices.SortStableFunc(out.Groups, func(a, b Group) int { return CompareKeys(a.Key, b.Key) })
	for _, s := range g.skipped {
		if s.Count > 0 {
			out.Skipped = append(out.Skipped, s)
		}
	}
	return out
}

// CompareKeys orders keys field by field.
func CompareKeys(a, b [][]byte) int { return slices.CompareFunc(a, b, Compare) }

// missingFields finds a field that no record has: a name that was mistyped, most of the time.
func (g *grouping) missingFields(src []byte) error {
	fields := slices.Clone(g.query.By)
	for _, a := range g.query.Aggregates {
		fields = append(fields, a.Field)
	}
	for _, f := range fields {
		if s := g.source(f); s.wildcard > 0 || g.present[s.field] > 0 {
			continue
		}
		return &NoFieldError{Field: f, Records: g.records, Names: namesIn(src, g.query)}
	}
	return nil
}

// namesIn are the members of the records that there are.
func namesIn(src []byte, q Query) []string {
	counts := map[string]int{}
	scan, err := records.New(src, q.Format, q.Records)
	if err != nil {
		return nil
	}
	_ = scan.Each(func(r *records.Record) error {
		if r.Raw[0] == '{' {
			records.Members(r.Raw, func(name, _ []byte) bool {
				const enough = 1000 // different ones: data that are used as names
				if text := merge.Unquote(name); len(counts) < enough || counts[text] > 0 {
					counts[text]++
				}
				return true
			})
		}
		return nil
	}, func() { clear(counts) })
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	return names
}
