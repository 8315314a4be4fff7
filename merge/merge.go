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
//   - merge(b, b, t) is t, merge(b, o, b) is o and, unless a rule accumulates (sum, append, renumber), merge(b, x, x) is x:
//     byte for byte.
//   - Numbers are exact at any size.
//   - Time grows with the size of the three texts, however they are nested. Beside the three texts a merge
//     takes a word or two for each child of what it goes into: little, but for a long array of very short elements.
//
// It does not know what values mean: two writers that both count 5 → 6 end at 6, unless the policy says sum. In an array
// it cannot tell an element that was changed beyond recognition from one that took another's place. A Document and a
// Change look into their text as they are used, also when they are only read: neither is for two goroutines at once.
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
