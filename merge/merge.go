// Package merge is being built; this file fixes its public face.
package merge

import "errors"

// Format says how the bytes of a document are laid out.
type Format int

const (
	// JSON is one RFC 8259 value for each file (plus what Python writes: NaN, Infinity, lone surrogate escapes).
	JSON Format = iota
	// Lines is JSON Lines: one value a line; as a document it is an array of its lines.
	Lines
)

var (
	ErrNotFound = errors.New("no such pointer")
	ErrType     = errors.New("wrong type")
	ErrRefused  = errors.New("refused by policy")
)

// SyntaxError is a place in a document that is not JSON.
type SyntaxError struct {
	Offset       int64 // bytes from the start of the document
	Line, Column int   // from 1; Column counts runes
	Msg          string
}

func (e *SyntaxError) Error() string { return e.Msg }

// Pointer is a parsed RFC 6901 pointer.
type Pointer []string

func ParsePointer(s string) (Pointer, error) { panic("todo") }
func (p Pointer) String() string             { panic("todo") }

// Document is a lossless JSON document.
type Document struct{}

func Parse(src []byte, f Format) (*Document, error)               { panic("todo") }
func (d *Document) Bytes() []byte                                 { panic("todo") }
func (d *Document) Changed() bool                                 { panic("todo") }
func (d *Document) Missing() bool                                 { panic("todo") }
func (d *Document) Get(p Pointer) (raw []byte, err error)         { panic("todo") }
func (d *Document) Do(ops ...Op) error                            { panic("todo") }
func (d *Document) Merge(c *Change, pol *Policy) (Outcome, error) { panic("todo") }

// Op is one operation that needs no base.
type Op struct {
	Kind  string // "set", "delete", "incr", "append", "patch" (RFC 7396), "insert" and "test" (RFC 6902)
	At    string // RFC 6901 pointer
	Value Raw    // JSON text; absent for delete
}

// Raw is JSON text, kept as it is.
type Raw []byte

// Change is what one writer did between base and ours, prepared for any number of merges.
type Change struct{}

func Diff(base, ours []byte, f Format, pol *Policy) (*Change, error) { panic("todo") }
func (c *Change) Empty() bool                                        { panic("todo") }
func (c *Change) Edits() []Edit                                      { panic("todo") }

// Edit is one step of a Change as people read it; a nil value is a missing one.
type Edit struct {
	At       string
	Old, New []byte
}

// Conflict is one place that both sides changed; a nil value is a missing one.
type Conflict struct {
	At                 string
	Base, Ours, Theirs []byte
	Taken              string // "ours", "theirs" or "both"
	Refused            bool   // the policy said fail
	Reason             string
}

// Outcome is what a merge did.
type Outcome struct {
	Conflicts []Conflict
}

// Policy says how places merge; nil is the default policy.
type Policy struct {
	Rules []Rule
}

// Rule is one line of a policy.
type Rule struct {
	At    string // pattern: RFC 6901 with * for one step and ** for any number
	Merge string
	Key   []string
}

func Merge(base, ours, theirs []byte, f Format, pol *Policy) ([]byte, Outcome, error) { panic("todo") }
