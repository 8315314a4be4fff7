// Package stats groups the records of a JSON document by fields of theirs and calculates with others: counts, sums, means,
// quantiles. It reads the text once, through package records, and keeps of a record only what an aggregate needs: nothing
// but for quantiles (each value) and distinct (each different one).
//
// Values are taken as the merge compares them: 1 and 1.0 are one group, "a" and "\u0061" too. Sums are exact, whatever the
// order and the number of digits; what divides (mean, quantiles between two values) is the float64 nearest to the exact
// result.
package stats

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"jsonguard/merge"
)

// Query says what is looked for.
type Query struct {
	Format     merge.Format
	Records    merge.Pattern
	By         []Field
	Aggregates []Aggregate
}

// Field is a value of a record: the one at a pointer relative to it, or what a wildcard of the pattern stands for.
type Field struct {
	Name     string        // of its column
	At       merge.Pointer // where Wildcard is 0; empty: the record itself
	Wildcard int           // the first is 1
}

// ParseField reads [NAME=]SOURCE. A source is the name of a member (success), a pointer (/usage/tokens) or @N, the N-th
// wildcard of the pattern; NAME= alone is the record itself. Without NAME the column is called as the source.
func ParseField(text string) (Field, error) {
	name, source, renamed := strings.Cut(text, "=")
	if !renamed || strings.Contains(name, "/") { // a pointer may hold a =
		name, source = text, text
	}
	f := Field{Name: name}
	switch {
	case name == "":
		return f, fmt.Errorf("field %q has no name", text)
	case source == "": // the empty pointer
	case source[0] == '@':
		n, err := strconv.Atoi(source[1:])
		if err != nil || n < 1 {
			return f, fmt.Errorf("field %q: @1 is what the first * of the pattern stands for, @2 the second", text)
		}
		f.Wildcard = n
	case source[0] == '/':
		var err error
		if f.At, err = merge.ParsePointer(source); err != nil {
			return f, err
		}
	default:
		f.At = merge.Pointer{source}
	}
	return f, nil
}

// String names the field for messages, as a source where it can be one.
func (f Field) String() string {
	switch {
	case f.Wildcard > 0:
		return "@" + strconv.Itoa(f.Wildcard)
	case len(f.At) == 0:
		return "the records"
	case len(f.At) == 1 && f.At[0] != "" && f.At[0][0] != '@' && f.At[0][0] != '/' && !strings.Contains(f.At[0], "="):
		return f.At[0]
	}
	return f.At.String()
}

// Aggregate is one column of results.
type Aggregate struct {
	Name     string
	Func     Func
	Field    Field    // empty At: the record itself
	quantile *big.Rat // of Quantile
}

// Func is how values become one.
type Func int

// The functions. Null and a missing field are no value to any of them.
const (
	Count    Func = iota // of records; with a field, of its values
	Sum                  // of numbers; true is 1, false 0
	Mean                 // of numbers; true is 1, false 0
	Min                  // in the order false, true, numbers, strings
	Max                  //
	Quantile             // of numbers, between two of them in proportion
	Distinct             // how many different values
)

var funcs = map[string]Func{"count": Count, "sum": Sum, "mean": Mean, "min": Min, "max": Max, "median": Quantile, "distinct": Distinct}

// ParseAggregate reads [NAME=]FUNC[:FIELD]. FUNC is count, sum, mean, min, max, median, distinct, or a quantile as p90 or
// p99.9. Without FIELD it is about the record itself.
func ParseAggregate(text string) (Aggregate, error) {
	name, call := text, text
	if before, after, renamed := strings.Cut(text, "="); renamed && !strings.ContainsAny(before, ":/") {
		name, call = before, after
	}
	function, source, hasField := strings.Cut(call, ":")
	a := Aggregate{Name: name}
	if a.Name == "" {
		return a, fmt.Errorf("aggregate %q has no name", text)
	}
	var known bool
	a.Func, known = funcs[function]
	switch {
	case function == "median":
		a.quantile = big.NewRat(1, 2)
	case !known:
		percent, ok := new(big.Rat).SetString(strings.TrimPrefix(function, "p"))
		if !ok || !strings.HasPrefix(function, "p") || strings.Trim(function[1:], "0123456789.") != "" || percent.Cmp(big.NewRat(100, 1)) > 0 {
			return a, &UnknownFunc{function}
		}
		a.Func, a.quantile = Quantile, percent.Quo(percent, big.NewRat(100, 1))
	}
	if hasField {
		var err error
		if a.Field, err = ParseField(source); err != nil {
			return a, err
		}
	}
	return a, nil
}

// UnknownFunc is the error for an aggregate that there is not.
type UnknownFunc struct{ Name string }

func (e *UnknownFunc) Error() string { return fmt.Sprintf("unknown aggregate %q", e.Name) }

// FuncNames are the aggregates there are, beside the quantiles.
func FuncNames() []string {
	return []string{"count", "sum", "mean", "min", "max", "median", "distinct"}
}
