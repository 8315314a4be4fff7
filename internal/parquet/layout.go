package parquet

import (
	"encoding/json"
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"jsonguard/internal/table"
)

// tableOf is the table that a file was made from, nil where somebody else made it.
func tableOf(f *parquet.File) (*table.Table, error) {
	text, ok := f.Lookup(metadataKey)
	if !ok {
		return nil, nil
	}
	t := new(table.Table)
	if err := json.Unmarshal([]byte(text), t); err != nil {
		return nil, fmt.Errorf("what jsonguard noted in the file cannot be read: %w", err)
	}
	t.Rows = f.NumRows()
	return t, t.Check()
}

// layout finds the columns of a file. t is nil for a file of others: then pattern says which columns are steps, all others are
// members of the records, and NULL is null.
func layout(f *parquet.File, t *table.Table, pattern string) (*assembler, *table.Table, error) {
	a := &assembler{hash: -1, explicit: map[string]bool{}}
	b := &layouter{}
	own := t != nil
	if !own {
		t = &table.Table{Foreign: true, Pattern: pattern, Rows: f.NumRows(), Record: table.Column{Kind: table.Struct}}
	}
	stepOf := map[string]int{}
	if own {
		for i := range t.Steps {
			stepOf[t.Steps[i].Name] = i
		}
	} else {
		for i, name := range table.StepNames(pattern) {
			stepOf[name] = i
			t.Steps = append(t.Steps, table.Column{Name: name, Kind: table.Text})
		}
	}
	a.steps = make([]*node, len(t.Steps))
	a.record = &node{kind: table.Struct}
	a.spread = t.Spread()
	for _, c := range f.Root().Columns() {
		name := c.Name()
		if i, ok := stepOf[name]; ok {
			n, err := b.node(c, nil, 0, 0)
			if err != nil {
				return nil, nil, err
			}
			a.steps[i] = n
			continue
		}
		var known *table.Column
		switch {
		case own && name == t.Nulls && t.Nulls != "", own && name == t.Hash && t.Hash != "":
		case own && !a.spread && name == t.Record.Name:
			known = &t.Record
		case own:
			if known = t.Record.Field(name); known == nil {
				return nil, nil, fmt.Errorf("column %q is not in the table that jsonguard noted", name)
			}
		}
		n, err := b.node(c, known, 0, 0)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case own && t.Nulls != "" && name == t.Nulls:
			a.nulls = n
		case own && t.Hash != "" && name == t.Hash:
			a.hash = n.first
		case !a.spread:
			a.record = n
		default:
			n.name(name, known)
			a.record.inside = append(a.record.inside, n)
		}
	}
	for i, n := range a.steps {
		if n == nil && (own || i != len(a.steps)-1) { // the last one may be the place in a list: see Decode
			return nil, nil, fmt.Errorf("there is no column %q, which would say what a wildcard of %s stands for", t.Steps[i].Name, t.Pattern)
		}
	}
	a.leaves = make([][]parquet.Value, b.leaves)
	return a, t, nil
}

func (n *node) name(name string, known *table.Column) {
	n.missing = false
	if known != nil {
		name = known.Member()
		n.missing = known.Missing || !known.Null
		n.both = known.Both()
	}
	n.member = append(table.AppendQuoted(nil, []byte(name)), ':')
	n.pointer = escapePointer(name)
}

// layouter numbers leaves in the order of the schema.
type layouter struct{ leaves int }

// node is made of a column and what is noted of it, nil where nothing is.
func (b *layouter) node(c *parquet.Column, known *table.Column, def, rep int) (*node, error) {
	if c.Optional() {
		def++
	}
	if c.Repeated() { // without the groups that a LIST has: a list of what cannot be null
		n := &node{kind: table.List, first: b.leaves, def: def, rep: rep + 1, filled: def + 1}
		element, err := b.plain(c, known, def+1, rep+1)
		n.inside, n.last = []*node{element}, b.leaves
		return n, err
	}
	return b.plain(c, known, def, rep)
}

// plain is node without c's own repetition.
func (b *layouter) plain(c *parquet.Column, known *table.Column, def, rep int) (*node, error) {
	if def > maxLevel {
		return nil, fmt.Errorf("column %q: nested deeper than %d", c.Name(), maxLevel)
	}
	n := &node{first: b.leaves, def: def}
	if c.Leaf() {
		b.leaves++
		n.last = b.leaves
		n.kind, n.append = leafText(c)
		return n, nil
	}
	var err error
	switch middle := middleOf(c); {
	case middle != nil && isMap(c):
		n.kind, n.rep, n.filled = table.Map, rep+1, def+1
		for i, inside := range middle.Columns() {
			var kept *table.Column
			if i == 1 {
				kept = known.Inside()
			}
			child, err := b.node(inside, kept, def+1, rep+1)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				child.append = keyText(child.append)
			}
			n.inside = append(n.inside, child)
		}
	case middle != nil && isList(c):
		n.kind, n.rep, n.filled = table.List, rep+1, def+1
		// An old way to write lists has no group around the element.
		element := middle
		var child *node
		if !middle.Leaf() && len(middle.Columns()) == 1 && middle.Name() != "array" && middle.Name() != c.Name()+"_tuple" {
			child, err = b.node(element.Columns()[0], known.Inside(), def+1, rep+1)
		} else {
			child, err = b.plain(element, known.Inside(), def+1, rep+1)
		}
		n.inside = []*node{child}
	default:
		n.kind = table.Struct
		for _, inside := range c.Columns() {
			field := known.Field(inside.Name())
			child, err := b.node(inside, field, def, rep)
			if err != nil {
				return nil, err
			}
			child.name(inside.Name(), field)
			n.inside = append(n.inside, child)
		}
	}
	n.last = b.leaves
	return n, err
}

const maxLevel = 200

// middleOf is the repeated group of a list or map.
func middleOf(c *parquet.Column) *parquet.Column {
	inside := c.Columns()
	if len(inside) != 1 || !inside[0].Repeated() {
		return nil
	}
	return inside[0]
}

func isList(c *parquet.Column) bool {
	l := c.Type().LogicalType()
	_, ok := logical[*format.ListType](l)
	return ok
}

func isMap(c *parquet.Column) bool {
	l := c.Type().LogicalType()
	_, ok := logical[*format.MapType](l)
	middle := middleOf(c)
	return ok && middle != nil && len(middle.Columns()) == 2
}

func logical[T any](l *format.LogicalType) (T, bool) {
	if l == nil {
		var none T
		return none, false
	}
	t, ok := l.Value.(T)
	return t, ok
}
