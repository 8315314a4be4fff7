package parquet

import (
	"fmt"

	"github.com/parquet-go/parquet-go"

	"jsonguard/internal/table"
)

// node is a column of a file, or a group of columns, as JSON that is put together from the values of its leaves.
type node struct {
	kind        table.Kind
	first, last int // leaves: first to last-1
	def         int // where the value is there and not null
	rep         int // inside of the list or map
	filled      int // a list or map: the definition level where it has an element
	inside      []*node
	append      func(dst []byte, v parquet.Value) []byte // a leaf

	member  []byte // of a Struct: the name as JSON, with a colon
	pointer string // and as a step of a pointer
	missing bool   // NULL is a member that is not there
	both    bool   // unless the column of nulls lists it
}

// assembler puts the records of a file together. It is the inverse of shredder.
type assembler struct {
	steps  []*node
	record *node
	spread bool  // the record is the row
	nulls  *node // nil: none
	hash   int   // -1: none

	leaves   [][]parquet.Value // of one row
	explicit map[string]bool   // members of this record that are null
	path     []byte
}

var errLevels = fmt.Errorf("the levels of the columns do not fit together")

// row puts one row together. What it returns in row is valid until the next call.
func (a *assembler) row(values parquet.Row, row *table.Row, buf []byte) ([]byte, error) {
	for i := range a.leaves {
		a.leaves[i] = nil
	}
	values.Range(func(column int, v []parquet.Value) bool {
		if column < len(a.leaves) {
			a.leaves[column] = v
		}
		return true
	})
	row.Steps = row.Steps[:0]
	buf = buf[:0]
	ends := make([]int, 0, 8)
	var err error
	for _, step := range a.steps {
		if step != nil {
			if buf, err = a.value(buf, step); err != nil {
				return buf, err
			}
		}
		ends = append(ends, len(buf))
	}
	if a.hash >= 0 {
		if len(a.leaves[a.hash]) != 1 {
			return buf, errLevels
		}
		row.Hash = uint64(a.leaves[a.hash][0].Int64())
	}
	clear(a.explicit)
	if a.nulls != nil {
		for _, v := range a.leaves[a.nulls.first] {
			if !v.IsNull() {
				a.explicit[string(v.ByteArray())] = true
			}
		}
	}
	a.path = a.path[:0]
	start := len(buf)
	if a.spread { // the row itself: it is there, also without any column
		buf, err = a.object(buf, a.record)
	} else {
		buf, err = a.value(buf, a.record)
	}
	if err != nil {
		return buf, err
	}
	begin := 0
	for _, end := range ends {
		row.Steps = append(row.Steps, buf[begin:end])
		begin = end
	}
	row.Raw = buf[start:]
	return buf, nil
}

// next is the value that is read next in the first leaf of n.
func (a *assembler) next(n *node) (parquet.Value, bool) {
	if n.first >= n.last || len(a.leaves[n.first]) == 0 {
		return parquet.Value{}, false
	}
	return a.leaves[n.first][0], true
}

func (a *assembler) skip(n *node) error {
	for i := n.first; i < n.last; i++ {
		if len(a.leaves[i]) == 0 {
			return errLevels
		}
		a.leaves[i] = a.leaves[i][1:]
	}
	return nil
}

func (a *assembler) value(dst []byte, n *node) ([]byte, error) {
	v, ok := a.next(n)
	if !ok {
		return dst, errLevels
	}
	if v.DefinitionLevel() < n.def {
		return append(dst, "null"...), a.skip(n)
	}
	switch n.kind {
	case table.Struct:
		return a.object(dst, n)
	case table.List, table.Map:
		return a.list(dst, n)
	}
	a.leaves[n.first] = a.leaves[n.first][1:]
	return n.append(dst, v), nil
}

func (a *assembler) object(dst []byte, n *node) ([]byte, error) {
	dst = append(dst, '{')
	first := true
	length := len(a.path)
	for _, inside := range n.inside {
		v, ok := a.next(inside)
		if !ok {
			return dst, errLevels
		}
		if len(a.explicit) > 0 {
			a.path = append(append(a.path[:length], '/'), inside.pointer...)
		}
		if v.DefinitionLevel() < inside.def && inside.missing && !(inside.both && a.explicit[string(a.path)]) {
			if err := a.skip(inside); err != nil {
				return dst, err
			}
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, inside.member...)
		var err error
		if dst, err = a.value(dst, inside); err != nil {
			return dst, err
		}
	}
	a.path = a.path[:length]
	return append(dst, '}'), nil
}

// list is also for maps, whose first leaf is the key of each entry.
func (a *assembler) list(dst []byte, n *node) ([]byte, error) {
	open, closing := byte('['), byte(']')
	if n.kind == table.Map {
		open, closing = '{', '}'
	}
	dst = append(dst, open)
	v, _ := a.next(n)
	if v.DefinitionLevel() < n.filled {
		return append(dst, closing), a.skip(n)
	}
	length := len(a.path)
	for i := 0; ; i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		value := n.inside[len(n.inside)-1]
		if n.kind == table.Map {
			key, _ := a.next(n.inside[0])
			a.path = append(append(a.path[:length], '/'), escapePointer(string(key.ByteArray()))...)
			var err error
			if dst, err = a.value(dst, n.inside[0]); err != nil {
				return dst, err
			}
			dst = append(dst, ':')
		} else {
			a.path = fmt.Appendf(a.path[:length], "/%d", i)
		}
		var err error
		if dst, err = a.value(dst, value); err != nil {
			return dst, err
		}
		if v, more := a.next(n); !more || v.RepetitionLevel() < n.rep {
			break
		} else if v.RepetitionLevel() > n.rep {
			return dst, errLevels
		}
	}
	a.path = a.path[:length]
	return append(dst, closing), nil
}
