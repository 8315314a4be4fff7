package sidecar

import (
	"bytes"
	"encoding/json"
	"strconv"

	"jsonguard/merge"
)

// line is one pending change.
type line struct {
	Seq        uint64   `json:"seq"`
	Generation uint64   `json:"generation"`          // seen when it was appended: the first key of the order
	Monotonic  int64    `json:"monotonic"`           // CLOCK_MONOTONIC, ns: the order within a boot, whatever the wall clock does
	New        bool     `json:"new,omitempty"`       // made against a missing target: the only kind that may create it
	Ops        []opText `json:"ops,omitempty"`       // each the text of a merge.Op: a string, because NaN is no JSON
	Ours       string   `json:"ours,omitempty"`      // views/<id>/<ours>: a complete new version
	Base       string   `json:"base,omitempty"`      // views/<id>/<base>: what it was made from; "" missing, or baseUnknown
	Additions  bool     `json:"additions,omitempty"` // ours may be the beginning of a version: it deletes nothing

	decoded   []merge.Op // of Ops
	undecoded error      // why not
}

// opText is the text of an operation.
type opText []byte

// MarshalText implements encoding.TextMarshaler.
func (t opText) MarshalText() ([]byte, error) { return t, nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *opText) UnmarshalText(text []byte) error {
	*t = bytes.Clone(text)
	return nil
}

// appendTo appends l as it stands in a sidecar, sealed. A journaled change costs little beside its fsync, so that this is
// done by hand: encoding/json takes twice as long, and twice, because an operation is JSON within JSON.
func (l *line) appendTo(dst []byte) []byte {
	at := len(dst)
	dst = strconv.AppendUint(append(dst, `{"seq":`...), l.Seq, 10)
	dst = strconv.AppendUint(append(dst, `,"generation":`...), l.Generation, 10)
	dst = strconv.AppendInt(append(dst, `,"monotonic":`...), l.Monotonic, 10)
	if l.New {
		dst = append(dst, `,"new":true`...)
	}
	for i, op := range l.Ops {
		if i == 0 {
			dst = append(dst, `,"ops":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = merge.AppendQuoted(dst, op)
	}
	if len(l.Ops) > 0 {
		dst = append(dst, ']')
	}
	if l.Ours != "" {
		dst = merge.AppendQuoted(append(dst, `,"ours":`...), l.Ours)
	}
	if l.Base != "" {
		dst = merge.AppendQuoted(append(dst, `,"base":`...), l.Base)
	}
	if l.Additions {
		dst = append(dst, `,"additions":true`...)
	}
	dst = append(dst, '}')
	return append(dst[:at], sealed(dst[at:])...)
}

// parseLine reads a line without its newline. Operations are still their texts.
func parseLine(text []byte) (line, bool) {
	body, ok := checked(text)
	if !ok {
		return line{}, false
	}
	if l, ok := scanLine(body); ok {
		return l, true
	}
	var l line
	ok = json.Unmarshal(append(bytes.Clone(body), '}'), &l) == nil
	return l, ok
}

// scanLine reads what appendTo writes for operations, without the closing brace. Anything else is for encoding/json.
func scanLine(body []byte) (l line, ok bool) {
	s := lineScanner{body, true}
	l = s.beginning()
	s.word(`,"ops":[`)
	for s.ok {
		l.Ops = append(l.Ops, s.quoted())
		if !s.optional(",") {
			break
		}
	}
	s.word("]")
	return l, s.ok && len(s.rest) == 0
}

// lineScanner goes through a line as long as it is what it expects.
type lineScanner struct {
	rest []byte
	ok   bool
}

// beginning reads what comes before the operations.
func (s *lineScanner) beginning() (l line) {
	l.Seq = s.number(`{"seq":`)
	l.Generation = s.number(`,"generation":`)
	s.word(`,"monotonic":`)
	negative := s.optional("-")
	l.Monotonic = int64(s.number(""))
	if negative {
		l.Monotonic = -l.Monotonic
	}
	l.New = s.optional(`,"new":true`)
	return l
}

func (s *lineScanner) optional(word string) bool {
	if s.ok && len(s.rest) >= len(word) && string(s.rest[:len(word)]) == word {
		s.rest = s.rest[len(word):]
		return true
	}
	return false
}

func (s *lineScanner) word(word string) { s.ok = s.optional(word) }

// number reads digits behind a word. Those with 19 digits and more are for who knows how far numbers reach.
func (s *lineScanner) number(word string) (v uint64) {
	s.word(word)
	n := 0
	for n < len(s.rest) && s.rest[n]-'0' <= 9 {
		v = v*10 + uint64(s.rest[n]-'0')
		n++
	}
	s.ok = s.ok && n > 0 && n < 19 && (n == 1 || s.rest[0] != '0')
	s.rest = s.rest[n:]
	return v
}

// quoted reads a string, which may be a part of the line.
func (s *lineScanner) quoted() []byte {
	text, rest, ok := merge.CutQuoted(s.rest)
	s.rest, s.ok = rest, s.ok && ok
	return text
}

// decode turns the texts of l into operations.
func (l *line) decode() {
	l.decoded = make([]merge.Op, 0, len(l.Ops))
	for _, text := range l.Ops {
		op, err := merge.ParseOp(text)
		if err != nil {
			l.decoded, l.undecoded = nil, err
			for i := range l.Ops { // for quarantine; what is read next takes the place of the line
				l.Ops[i] = bytes.Clone(l.Ops[i])
			}
			return
		}
		l.decoded = append(l.decoded, op)
	}
}

func encodeOps(ops []merge.Op) []opText {
	texts := make([]opText, 0, len(ops))
	for _, op := range ops {
		texts = append(texts, op.AppendJSON(make([]byte, 0, 64+len(op.At)+len(op.Value)*3/2)))
	}
	return texts
}
