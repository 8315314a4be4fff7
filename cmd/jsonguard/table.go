package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"jsonguard/merge"
)

// cell is a text of a table.
type cell struct {
	text   string
	colour string // of paint; "" none
	right  bool   // aligned so, as numbers are
}

// printTable aligns columns, without white space at the end of a line.
func (a *app) printTable(lines [][]cell) {
	width := map[int]int{}
	for _, line := range lines {
		for k, c := range line {
			width[k] = max(width[k], utf8.RuneCountInString(c.text))
		}
	}
	for _, line := range lines {
		var out strings.Builder
		for k, c := range line {
			pad := strings.Repeat(" ", width[k]-utf8.RuneCountInString(c.text))
			text := c.text
			if c.colour != "" {
				text = paint(a.stdout, c.colour, text)
			}
			switch last := k == len(line)-1; {
			case c.right:
				out.WriteString(pad + text)
			case last:
				out.WriteString(text)
			default:
				out.WriteString(text + pad)
			}
			if k < len(line)-1 {
				out.WriteString("  ")
			}
		}
		a.println(strings.TrimRight(out.String(), " "))
	}
}

// readable is JSON text as a table shows it: a string without quotes where nothing is hidden by that, and never a control
// character, which a terminal would obey.
func readable(raw []byte) string {
	if raw[0] == '"' {
		s := merge.Unquote(raw)
		if s != "" && strings.TrimSpace(s) == s && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
			return s
		}
	}
	return printable(string(oneLine(raw)))
}

// printable escapes what a terminal would not print.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}
