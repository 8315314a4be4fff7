package merge

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Pointer is a parsed RFC 6901 pointer: the steps from the document to a value. Empty is the document itself.
type Pointer []string

// ParsePointer reads "" or "/step/step"; in a step ~1 is a slash and ~0 a tilde.
func ParsePointer(s string) (Pointer, error) {
	if s == "" {
		return nil, nil
	}
	if s[0] != '/' {
		return nil, fmt.Errorf("pointer %q must start with a slash: did you mean %q", s, "/"+s)
	}
	if !utf8.ValidString(s) { // a name of it could be written, and the document never read again
		return nil, fmt.Errorf("pointer %q is not valid UTF-8", s)
	}
	steps := strings.Split(s[1:], "/")
	for i, step := range steps {
		if strings.IndexByte(step, '~') < 0 {
			continue
		}
		if strings.Count(step, "~") > strings.Count(step, "~0")+strings.Count(step, "~1") {
			return nil, fmt.Errorf("pointer %q: a tilde is written ~0, a slash in a name ~1 (RFC 6901)", s)
		}
		steps[i] = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
	}
	return steps, nil
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func (p Pointer) String() string {
	var b strings.Builder
	for _, step := range p {
		b.WriteByte('/')
		_, _ = pointerEscape.WriteString(&b, step)
	}
	return b.String()
}

// child is p with one step more, until the next child of p is made: they share their place in memory, so that walking down
// a document costs no copy of the way for each step.
func (p Pointer) child(step string) Pointer { return append(p, step) }
