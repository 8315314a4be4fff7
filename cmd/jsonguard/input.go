package main

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"jsonguard/merge"
)

// pointer reads a POINTER argument.
func pointer(arg string) (merge.Pointer, error) {
	p, err := merge.ParsePointer(arg)
	if err == nil {
		return p, nil
	}
	if arg != "" && !strings.HasPrefix(arg, "/") {
		return nil, usage("did you mean "+shellQuote(guessPointer(arg))+"? a pointer starts with / (RFC 6901)", "pointer %q does not start with a slash", arg)
	}
	return nil, usage("a pointer is empty or starts with /; ~ is written ~0 and / inside a name ~1 (RFC 6901)", "%v", err)
}

// guessPointer: people write models/gpt, .models.gpt or $.models.gpt.
func guessPointer(arg string) string {
	guess := strings.TrimPrefix(strings.TrimPrefix(arg, "$"), ".")
	if !strings.Contains(guess, "/") {
		guess = strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(guess)
	}
	return "/" + strings.TrimPrefix(guess, "/")
}

// shellQuote writes a word as a shell takes it, plain where that is possible.
func shellQuote(word string) string {
	plain := word != ""
	for _, r := range word {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@%=", r)) {
			plain = false
		}
	}
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// value reads a VALUE argument: JSON text, - for stdin, any text with --string.
func (a *app) value(cmd *cobra.Command, arg string) (merge.Raw, error) {
	text, err := a.argument(cmd.Context(), arg)
	if err != nil {
		return nil, err
	}
	asString, _ := cmd.Flags().GetBool("string")
	if asString {
		if !utf8.Valid(text) {
			return nil, usage("a JSON string is UTF-8; encode other bytes, for example in base64", "value: not valid UTF-8")
		}
		return jsonText(string(text)), nil
	}
	if err := checkValue(text); err != nil {
		hint := "check the quotes: the shell takes one pair away"
		if arg == "-" {
			hint = "standard input must hold one JSON value"
		} else if len(arg) <= 80 && !strings.ContainsAny(arg, "{}[]") {
			hint = "did you mean " + shellQuote(string(jsonText(arg))) + ", or --string?"
			if word := fromPython(strings.TrimSpace(arg)); word != "" {
				hint = "did you mean " + word + "?"
			} else if cmd.Flags().Lookup("string") == nil {
				hint = "did you mean " + shellQuote(string(jsonText(arg))) + "?"
			}
		}
		status := statusUsage
		if arg == "-" {
			status = statusData
		}
		return nil, &problem{op: "value", path: brief(text), err: err, hint: hint, status: status}
	}
	return merge.Raw(strings.TrimSpace(string(text))), nil
}

// fromPython is what people mean who have just printed the value in Python, "" for anything else.
func fromPython(word string) string {
	switch word {
	case "True", "False":
		return strings.ToLower(word)
	case "None":
		return "null"
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	}
	return ""
}

// argument is an argument, or stdin for -.
func (a *app) argument(ctx context.Context, arg string) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	if isTerminal(a.stdin) {
		a.note("reading from the terminal, end with Ctrl-D")
	}
	var text []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		text, err = io.ReadAll(a.stdin)
	}()
	select {
	case <-done:
	case <-ctx.Done(): // whoever is at the other end may never end
		return nil, &problem{op: "read", path: "standard input", err: ctx.Err()}
	}
	if err != nil {
		return nil, &problem{op: "read", path: "standard input", err: bare(err), status: statusIO}
	}
	return text, nil
}

// checkValue: one JSON value, and not the empty text that a document may be.
func checkValue(text []byte) error {
	doc, err := merge.Parse(text, merge.JSON)
	if err != nil {
		return err
	}
	if doc.Missing() {
		return errEmptyValue
	}
	return nil
}

var errEmptyValue = &merge.SyntaxError{Line: 1, Column: 1, Msg: "no value"}

func brief(text []byte) string {
	const limit = 60
	s := strings.TrimSpace(string(text))
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		return "?"
	}
	return string(quoted)
}
