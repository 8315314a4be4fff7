package merge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// A mergeCase is one case of testdata/cases; see the README there.
type mergeCase struct {
	name                     string
	format                   merge.Format
	policy                   *merge.Policy
	base, ours, theirs, want []byte
	conflicts                []string
	err                      string
}

func TestCases(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			got, outcome, err := merge.Merge(c.base, c.ours, c.theirs, c.format, c.policy)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, shorten(c.want), shorten(got))
			require.True(t, bytes.Equal(c.want, got), "differs in what was shortened")
			var conflicts []string
			for _, conflict := range outcome.Conflicts {
				conflicts = append(conflicts, conflict.String())
				require.Equal(t, strings.Contains(conflict.Reason, "refused"), conflict.Refused)
			}
			require.Equal(t, c.conflicts, conflicts)
			require.NoError(t, merge.Valid(got, c.format))
		})
	}
}

// Whatever the policy of a case, its three texts obey the laws that need no values.
func TestCasesObeyTheLaws(t *testing.T) {
	for _, c := range readCases(t) {
		if c.err != "" || c.policy != nil && c.policy.Duplicates != "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			texts := [][]byte{c.base, c.ours, c.theirs, c.want}
			if len(c.base) > 10_000 {
				texts = texts[:2]
			}
			for _, x := range texts {
				for _, y := range texts {
					requireMerge(t, c, x, x, y, y) // merge(b, b, t) is t
					requireMerge(t, c, x, y, x, y) // merge(b, o, b) is o
					if !accumulates(c.policy) {
						requireMerge(t, c, x, y, y, y) // merge(b, x, x) is x
					}
				}
			}
		})
	}
}

// accumulates: doing the same thing twice is not the same as doing it once.
func accumulates(p *merge.Policy) bool {
	return p != nil && slices.ContainsFunc(p.Rules, func(r merge.Rule) bool {
		return r.Merge == merge.Sum || r.Merge == merge.Append || r.Merge == merge.Renumber
	})
}

func requireMerge(t *testing.T, c mergeCase, base, ours, theirs, want []byte) {
	t.Helper()
	got, outcome, err := merge.Merge(base, ours, theirs, c.format, c.policy)
	require.NoError(t, err)
	require.Equal(t, shorten(want), shorten(got), "base %s\nours %s\ntheirs %s", shorten(base), shorten(ours), shorten(theirs))
	require.True(t, bytes.Equal(want, got))
	require.Empty(t, outcome.Conflicts)
}

// shorten cuts runs that would fill the screen.
func shorten(b []byte) string {
	if len(b) < 2000 {
		return string(b)
	}
	return fmt.Sprintf("%s … %d bytes … %s", b[:500], len(b)-1000, b[len(b)-500:])
}

var sections = regexp.MustCompile(`(?m)^-- (.+) --\n`)

func readCases(t *testing.T) []mergeCase {
	files, err := filepath.Glob("testdata/cases/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var cases []mergeCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		topic := strings.TrimSuffix(filepath.Base(file), ".txt")
		for _, part := range strings.Split("\n"+string(text), "\n=== ")[1:] {
			cases = append(cases, readCase(t, topic, part+"\n"))
		}
	}
	return cases
}

func readCase(t *testing.T, topic, text string) mergeCase {
	marks := sections.FindAllStringSubmatchIndex(text, -1)
	require.NotEmpty(t, marks, text)
	head := strings.Split(strings.TrimSpace(text[:marks[0][0]]), "\n")
	c := mergeCase{name: topic + "/" + head[0]}
	if len(head) > 1 {
		require.Equal(t, "lines", head[1], c.name)
		c.format = merge.Lines
	}
	for i, mark := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		body := text[mark[1]:end]
		if i+1 == len(marks) {
			body = strings.TrimSuffix(body, "\n") // the blank line in front of the next case
		}
		for name := range strings.SplitSeq(text[mark[2]:mark[3]], " = ") {
			switch name {
			case "base":
				c.base = expandMarks(body)
			case "ours":
				c.ours = expandMarks(body)
			case "theirs":
				c.theirs = expandMarks(body)
			case "want":
				c.want = expandMarks(body)
			case "policy":
				c.policy = new(merge.Policy)
				d := json.NewDecoder(strings.NewReader(body))
				d.DisallowUnknownFields()
				require.NoError(t, d.Decode(c.policy), c.name)
				require.NoError(t, c.policy.Check(), c.name)
			case "conflicts":
				c.conflicts = strings.Split(strings.TrimSpace(body), "\n")
			case "error":
				c.err = strings.TrimSpace(body)
			default:
				require.Fail(t, "unknown section", "%s: %s", c.name, name)
			}
		}
	}
	return c
}

var repeats = regexp.MustCompile(`«([^×]*)×(\d+)»`)

func expandMarks(text string) []byte {
	text = strings.TrimSuffix(text, "\n\\\n")
	text = strings.NewReplacer("␍", "\r", "⍽", "\xef\xbb\xbf").Replace(text)
	return []byte(repeats.ReplaceAllStringFunc(text, func(s string) string {
		m := repeats.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	}))
}
