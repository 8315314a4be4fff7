package merge

import "bytes"

// Validator is [Valid] for a text that comes piece by piece, and of which it keeps no more than a window. The zero value
// is ready for use, for JSON.
type Validator struct {
	Format Format

	rest   []byte // the text from the last place on that is known to be the end of a value
	stack  []byte // '{' or '[' of each container that is open there
	state  validatorState
	enough int // it is not worth to look at less
	window int // 0: the usual one
	err    error
}

type validatorState byte

const (
	atStart validatorState = iota // nothing but white space was seen
	inside                        // of the document, behind a value in it
	behind                        // the document
)

const (
	validatorWindow = 256 << 10
	// longestToken that is cut short may be taken for something wrong, and not for the end of the text: -Infinity. Strings
	// may be longer: of those the end of the text is missing.
	longestToken = 9
)

// Write takes what comes next. It never fails: what is wrong is said by Close.
func (v *Validator) Write(p []byte) (int, error) {
	if v.window == 0 {
		v.window = validatorWindow
	}
	n := len(p)
	for len(p) > 0 && v.err == nil {
		some := min(len(p), v.window)
		v.rest, p = append(v.rest, p[:some]...), p[some:]
		if len(v.rest) < max(v.window, v.enough) {
			continue
		}
		if at, err := v.goOn(false); err != nil && at+longestToken < len(v.rest) {
			v.err, v.rest = err, nil // whatever comes
		}
	}
	return n, nil
}

// Close ends the text: nil, or a *SyntaxError without its place, for which [Valid] has to see the whole.
func (v *Validator) Close() error {
	if v.err == nil {
		_, v.err = v.goOn(true)
	}
	return v.err
}

// Empty says whether there was nothing but white space, once it is closed.
func (v *Validator) Empty() bool { return v.state == atStart && len(v.rest) == 0 && v.err == nil }

// goOn reads as far as it can be sure of. What is left is looked at again when there is more of it. at is where it came to.
func (v *Validator) goOn(last bool) (at int, err error) {
	if v.state == atStart {
		if v.stack == nil { // no byte order mark stands behind white space
			if len(v.rest) < len(utf8BOM) && !last {
				return 0, nil
			}
			if v.stack = []byte{}; bytes.HasPrefix(v.rest, utf8BOM) {
				v.done(len(utf8BOM))
			}
		}
		if v.done(skipSpace(v.rest, 0)); len(v.rest) == 0 {
			return 0, nil
		}
	}
	if v.Format == Lines {
		return 0, v.goOnLines(last)
	}
	if v.state != behind {
		var m *meeting
		if !last { // most values that are under way in the middle of a window end in it
			m = &meeting{at: max(1, len(v.rest)/2), orBehind: true}
		}
		end, met, err := scanOn(v.rest, 0, append([]byte(nil), v.stack...), v.state == inside, m, nil)
		switch {
		case err != nil || !met && !last && end == len(v.rest):
			v.enough = 2 * len(v.rest)
			return end, err
		case met:
			v.state, v.stack, v.enough = inside, m.open, 0
			v.done(end)
			return 0, nil
		}
		v.state, v.enough = behind, 0
		v.done(end)
	}
	if i := skipSpace(v.rest, 0); i < len(v.rest) {
		return 0, behindEnd(v.rest, i)
	}
	v.done(len(v.rest))
	return 0, nil
}

// goOnLines reads whole lines.
func (v *Validator) goOnLines(last bool) error {
	end := len(v.rest)
	if !last {
		if end = bytes.LastIndexByte(v.rest, '\n') + 1; end == 0 {
			v.enough = 2 * len(v.rest)
			return nil
		}
	}
	if err := validateFrom(v.rest[:end], 0, Lines, nil); err != nil {
		return err
	}
	v.state, v.enough = inside, 0
	v.done(end)
	return nil
}

// done drops what has been read.
func (v *Validator) done(n int) { v.rest = v.rest[:copy(v.rest, v.rest[n:])] }
