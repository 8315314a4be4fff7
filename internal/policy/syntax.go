package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// value is a JSON value that knows where it stands.
type value struct {
	offset   int64
	key      string // pointer to it
	kind     jsontext.Kind
	text     string // of a string, decoded; else as it stands
	members  []member
	elements []*value
}

type member struct {
	name   string
	offset int64
	value  *value
}

// parser reads one file and says where something is wrong.
type parser struct {
	file string
	src  []byte
	dec  *jsontext.Decoder
}

// maxSize of a policy file, in bytes.
const maxSize = 1 << 20

func (p *parser) parse() (*value, error) {
	if len(p.src) > maxSize {
		return nil, &Error{File: p.file, Text: fmt.Sprintf("%d bytes long; a policy has at most %d", len(p.src), maxSize)}
	}
	p.src = bytes.TrimPrefix(p.src, []byte("\ufeff"))
	p.dec = jsontext.NewDecoder(bytes.NewReader(p.src))
	v, err := p.value("")
	if err == nil {
		if _, err = p.dec.ReadToken(); err == nil {
			err = p.at(p.dec.InputOffset()-1, "", "", "something stands behind the policy")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	var located *Error
	if err != nil && !errors.As(err, &located) {
		err = p.syntax(err)
	}
	return v, err
}

func (p *parser) syntax(err error) error {
	offset, text := p.dec.InputOffset(), err.Error()
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		offset, text = s.ByteOffset, s.Err.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		text = "the file ends too early"
	}
	hint := ""
	if rest := p.src[min(offset, int64(len(p.src))):]; bytes.HasPrefix(rest, []byte("//")) || bytes.HasPrefix(rest, []byte("/*")) {
		hint = "a policy is plain JSON, without comments"
	}
	return p.at(offset, "", hint, "no JSON: %s", strings.TrimPrefix(text, "jsontext: "))
}

func (p *parser) value(key string) (*value, error) {
	token, err := p.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	v := &value{key: key, kind: token.Kind(), text: token.String()}
	v.offset = p.start(v)
	switch v.kind {
	case '{':
		for p.dec.PeekKind() != '}' {
			name, err := p.dec.ReadToken()
			if err != nil {
				return nil, err
			}
			m := member{name: name.String()}
			m.offset = p.start(&value{kind: '"'})
			if m.value, err = p.value(key + "/" + m.name); err != nil {
				return nil, err
			}
			v.members = append(v.members, m)
		}
	case '[':
		for p.dec.PeekKind() != ']' {
			e, err := p.value(key + "/" + strconv.Itoa(len(v.elements)))
			if err != nil {
				return nil, err
			}
			v.elements = append(v.elements, e)
		}
	default:
		return v, nil
	}
	_, err = p.dec.ReadToken()
	return v, err
}

// start of the token that was just read: the decoder knows its end only.
func (p *parser) start(v *value) int64 {
	end := p.dec.InputOffset()
	switch v.kind {
	case '{', '[':
		return end - 1
	case '"':
		for i := end - 2; i >= 0; i-- {
			if p.src[i] == '"' && !escaped(p.src[:i]) {
				return i
			}
		}
	}
	return end - int64(len(v.text))
}

// escaped says whether what follows before is escaped by an odd number of backslashes.
func escaped(before []byte) bool {
	return (len(before)-len(bytes.TrimRight(before, `\`)))%2 == 1
}

// at is an error at an offset.
func (p *parser) at(offset int64, key, hint, format string, args ...any) error {
	before := p.src[:max(0, min(offset, int64(len(p.src))))]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return &Error{
		File: p.file, Line: bytes.Count(before, []byte("\n")) + 1, Column: utf8.RuneCount(line) + 1,
		Key: key, Text: fmt.Sprintf(format, args...), Hint: hint,
	}
}

func (p *parser) wrong(v *value, hint, format string, args ...any) error {
	return p.at(v.offset, v.key, hint, format, args...)
}

func (p *parser) line(v *value) int { return bytes.Count(p.src[:v.offset], []byte("\n")) + 1 }

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	}
	return "a boolean"
}

// didYouMean is the hint for a word that is none of words.
func didYouMean(word string, words []string) string {
	if best := Nearest(word, words); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return "one of " + strings.Join(quoted, ", ")
}

// Nearest is the word that was probably meant, or "".
func Nearest(word string, words []string) string {
	word = strings.ToLower(strings.ReplaceAll(word, "_", "-"))
	best, distance := "", max(1, len(word)/2)+1
	for _, w := range words {
		d := editDistance(word, w)
		if len(word) >= 2 && (strings.HasPrefix(w, word) || strings.HasPrefix(word, w)) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = w, d
		}
	}
	return best
}

// editDistance is that of Damerau and Levenshtein, in bytes: two letters in the wrong order are one mistake.
func editDistance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := range len(a) {
		older, above, here := rows[i%3], rows[(i+1)%3], rows[(i+2)%3]
		here[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			here[j+1] = min(above[j]+cost, above[j+1]+1, here[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				here[j+1] = min(here[j+1], older[j-1]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
