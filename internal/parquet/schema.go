// Package parquet writes the rows of a table as a Parquet file and reads them back. Only the executable
// jsonguard-parquet holds it: it is a filter between the stream of package table and a file, and knows no names of files.
//
// A Parquet file that was not finished holds nothing, because what it consists of is said at its end. So whoever wants one
// gives it a temporary name until Encode has returned.
package parquet

import (
	"slices"

	"github.com/parquet-go/parquet-go"

	"jsonguard/internal/table"
)

// metadataKey is where a file keeps its table.
const metadataKey = "jsonguard.table"

// group is a parquet.Group whose fields keep their order.
type group struct {
	parquet.Group
	order map[string]int
}

func newGroup(columns []table.Column, node func(*table.Column) parquet.Node) group {
	g := group{Group: parquet.Group{}, order: map[string]int{}}
	for i := range columns {
		g.add(columns[i].Name, node(&columns[i]))
	}
	return g
}

func (g *group) add(name string, n parquet.Node) {
	g.order[name] = len(g.Group)
	g.Group[name] = n
}

func (g group) Fields() []parquet.Field {
	fields := g.Group.Fields()
	slices.SortFunc(fields, func(a, b parquet.Field) int { return g.order[a.Name()] - g.order[b.Name()] })
	return fields
}

// schemaOf is the Parquet schema of a table: the steps, the record, and the columns that jsonguard adds.
func schemaOf(t *table.Table) *parquet.Schema {
	root := newGroup(t.Steps, leaf)
	if t.Spread() {
		for i := range t.Record.Fields {
			root.add(t.Record.Fields[i].Name, optional(&t.Record.Fields[i]))
		}
	} else {
		root.add(t.Record.Name, optional(&t.Record))
	}
	if t.Nulls != "" {
		root.add(t.Nulls, parquet.Optional(parquet.List(text(parquet.String()))))
	}
	if t.Hash != "" {
		root.add(t.Hash, parquet.Leaf(parquet.Int64Type))
	}
	return parquet.NewSchema("records", root)
}

func optional(c *table.Column) parquet.Node {
	switch c.Kind {
	case table.Struct:
		return parquet.Optional(newGroup(c.Fields, optional))
	case table.List:
		return parquet.Optional(parquet.List(optional(&c.Fields[0])))
	case table.Map:
		return parquet.Optional(parquet.Map(text(parquet.String()), optional(&c.Fields[0])))
	}
	return parquet.Optional(leaf(c))
}

func leaf(c *table.Column) parquet.Node {
	switch c.Kind {
	case table.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case table.Int:
		return parquet.Leaf(parquet.Int64Type)
	case table.Double:
		return parquet.Leaf(parquet.DoubleType)
	case table.String:
		if c.Unlike {
			return parquet.String()
		}
		return text(parquet.String())
	}
	return parquet.JSON()
}

// text has a dictionary, as long as it does not grow too large (see dictionaryBytes).
func text(n parquet.Node) parquet.Node { return parquet.Encoded(n, &parquet.RLEDictionary) }
