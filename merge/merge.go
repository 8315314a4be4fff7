// Package merge joins what several writers did to one JSON document. It takes bytes and gives bytes, and does no I/O.
//
// It has three parts. A [Document] is lossless: it is changed by pointer ([Op]) or by a merge, and whatever is not
// changed keeps its bytes: key order, indentation, number literals, escapes, line ends. A [Change] is what one writer did
// between the version it started from (base) and the version it wrote (ours), found by [Diff]. [Document.Merge] carries
// a change into what the document has become meanwhile (theirs).
//
// It promises:
//
//   - Changes to different places never cost each other anything. Where both sides changed one place, the [Policy]
//     decides, and the value that lost is returned as a [Conflict].
//   - Values are compared by value and written by their bytes: 1.10 and 1.1 are one number, "\u00e9" and "é" one string,
//     and a program that only loads and dumps the document changes nothing.
//   - merge(b, b, t) is t and merge(b, x, x) is x, byte for byte; merge(b, o, b) is o.
//   - Numbers are exact at any size.
//
// It does not know what values mean: two writers that both count 5 → 6 end at 6, unless the policy says sum.
//
// Beside RFC 8259 it takes what Python writes: NaN, Infinity, lone surrogate escapes, names that come twice.
package merge

import "errors"

// Format says how the text of a document is laid out.
type Format int

const (
	// JSON is one value for each file.
	JSON Format = iota
	// Lines is JSON Lines: one value a line. As a document it is the array of its lines.
	Lines
)

// Sentinels, for errors.Is.
var (
	ErrNotFound = errors.New("no such pointer")
	ErrType     = errors.New("wrong type")
	ErrRefused  = errors.New("refused")
)
