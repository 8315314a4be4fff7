// Package table finds the columns that hold JSON records, without loss where columns can, and explains where not.
//
// It promises that a record that goes into the columns and comes out again is the same value: members, elements, numbers
// by their value, missing told from null. The order of members is that in which the names came up first, and of a name that
// comes twice the last value is kept.
//
//	in := table.NewInference(pattern)
//	in.Add(steps, raw)          // of each record
//	t, notes := in.Table(false)
//
// It knows nothing of Parquet: a table and its rows go to whoever writes the file as a stream (see [Writer]).
package table

import (
	"fmt"
	"strconv"
	"strings"
)

// Table says how records are kept in columns: one for each wildcard of the pattern, then the members of the records, or,
// where the records are not all objects, a column with the whole value.
type Table struct {
	Pattern string   `json:"pattern"`
	Steps   []Column `json:"steps,omitempty"` // Int: an index, String: a name, Text: either, as JSON
	Record  Column   `json:"record"`          // without a name: a Struct whose fields are columns. Else a column
	Nulls   string   `json:"nulls,omitempty"` // the column that lists, as pointers, the members that are null where others of that name are missing
	Hash    string   `json:"hash,omitempty"`  // the column with a hash of the record
	Rows    int64    `json:"rows"`

	Foreign bool      `json:"foreign,omitempty"` // of a file that was not made from a table
	Source  string    `json:"source,omitempty"`  // of an increment: the file the records are of
	Profile []Profile `json:"profile,omitempty"` // of an increment: of the steps and of the record
}

// Spread says whether the members of the records are columns.
func (t *Table) Spread() bool { return t.Record.Name == "" }

// Inference looks at records and then makes the table that holds them.
type Inference struct {
	pattern string
	names   []string
	steps   []Profile
	record  Profile
	rows    int64
}

// NewInference begins; pattern is a pointer in which * and ** stand for steps.
func NewInference(pattern string) *Inference {
	names := StepNames(pattern)
	return &Inference{pattern: pattern, names: names, steps: make([]Profile, len(names))}
}

// Add looks at a record: what its wildcards stand for, and itself, as valid JSON text.
func (in *Inference) Add(steps [][]byte, raw []byte) {
	for i, s := range steps {
		in.steps[i].Add(s, 0)
	}
	in.record.Add(raw, 0)
	in.rows++
}

// Profile is what was seen, of the steps and then of the records.
func (in *Inference) Profile() []Profile {
	return append(append([]Profile(nil), in.steps...), in.record)
}

// Include adds what was seen before, by Profile of an Inference with the same pattern.
func (in *Inference) Include(seen []Profile) {
	for i := range in.steps {
		in.steps[i].Merge(&seen[i])
	}
	in.record.Merge(&seen[len(in.steps)])
}

// Rows is how many records were added.
func (in *Inference) Rows() int64 { return in.rows }

// Table is the one that holds all of them. hashed adds a column for a hash of each record. The notes explain what is not a
// matter of course.
func (in *Inference) Table(hashed bool) (*Table, []Note) {
	b := new(builder)
	t := &Table{Pattern: in.pattern, Rows: in.rows}
	t.Record = b.column("", &in.record, 0, 0)
	taken := map[string]bool{}
	if t.Record.Kind == Struct && !t.Record.Null {
		for _, f := range t.Record.Fields {
			taken[f.Name] = true
		}
	} else {
		t.Record.Name = unused("value", taken)
		for i, n := range b.notes {
			b.notes[i].At = t.Record.Name + n.At
		}
	}
	for i, name := range in.names {
		step := b.column(name, &in.steps[i], 0, 0)
		step.Name = unused(name, taken)
		if step.Name != name {
			b.note(step.Name, "holds a step of %s; %s is a member of the records", in.pattern, name)
		}
		t.Steps = append(t.Steps, step)
	}
	if t.Record.anyBoth() {
		t.Nulls = unused("_null", taken)
		b.note(t.Nulls, "lists members that are null, where others of that name are missing")
	}
	if hashed {
		t.Hash = unused("_hash", taken)
	}
	for i, n := range b.notes {
		b.notes[i].At = printable(n.At)
	}
	return t, b.notes
}

func (c *Column) anyBoth() bool {
	if c.Both() {
		return true
	}
	for i := range c.Fields {
		if c.Fields[i].anyBoth() {
			return true
		}
	}
	return false
}

// StepNames are the names of the columns for the wildcards of a pattern: that of the step before each, key where there is
// none. Of equal ones the later are numbered.
func StepNames(pattern string) []string {
	if pattern == "" {
		return nil
	}
	var names []string
	taken := map[string]int{}
	before := ""
	for step := range strings.SplitSeq(pattern[1:], "/") {
		if step != "*" && step != "**" {
			before = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
			continue
		}
		name := before
		if name == "" {
			name = "key"
		}
		before = ""
		if taken[name]++; taken[name] > 1 {
			name += strconv.Itoa(taken[name])
			taken[name]++
		}
		names = append(names, name)
	}
	return names
}

// SameColumns says whether two tables have the same columns, so that one reader takes the files of both as one table.
// What NULL means may differ.
func (t *Table) SameColumns(u *Table) bool {
	if t.Nulls != u.Nulls || t.Hash != u.Hash || len(t.Steps) != len(u.Steps) {
		return false
	}
	for i := range t.Steps {
		if !t.Steps[i].same(&u.Steps[i]) {
			return false
		}
	}
	return t.Record.same(&u.Record)
}

func (c *Column) same(d *Column) bool {
	if c.Name != d.Name || c.Empty != d.Empty || c.Kind != d.Kind || len(c.Fields) != len(d.Fields) {
		return false
	}
	for i := range c.Fields {
		if !c.Fields[i].same(&d.Fields[i]) {
			return false
		}
	}
	return true
}

// Check finds what cannot be: a table may come from a file that anybody wrote.
func (t *Table) Check() error {
	if len(StepNames(t.Pattern)) != len(t.Steps) {
		return fmt.Errorf("%d columns for the wildcards of %q", len(t.Steps), t.Pattern)
	}
	for i := range t.Steps {
		if k := t.Steps[i].Kind; k != Int && k != String && k != Text {
			return fmt.Errorf("column %q: a step of a pointer is no %s", t.Steps[i].Name, k)
		}
	}
	if t.Spread() && t.Record.Kind != Struct {
		return fmt.Errorf("the columns of a record that is a %s", t.Record.Kind)
	}
	return t.Record.check(0)
}

func (c *Column) check(depth int) error {
	if depth > 2*maxDepth {
		return fmt.Errorf("column %q: nested deeper than %d", c.Name, 2*maxDepth)
	}
	switch c.Kind {
	case Struct:
	case Map, List:
		if len(c.Fields) != 1 {
			return fmt.Errorf("column %q: a %s has one column inside", c.Name, c.Kind)
		}
	case Bool, Int, Double, String, Text:
		if len(c.Fields) != 0 {
			return fmt.Errorf("column %q: a %s has no columns inside", c.Name, c.Kind)
		}
	default:
		return fmt.Errorf("column %q: unknown kind %q", c.Name, c.Kind)
	}
	for i := range c.Fields {
		if err := c.Fields[i].check(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// Names are those of the columns, in their order.
func (t *Table) Names() []string {
	var names []string
	for i := range t.Steps {
		names = append(names, t.Steps[i].Name)
	}
	if t.Spread() {
		for i := range t.Record.Fields {
			names = append(names, t.Record.Fields[i].Name)
		}
	} else {
		names = append(names, t.Record.Name)
	}
	for _, name := range []string{t.Nulls, t.Hash} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
