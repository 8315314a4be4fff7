package merge_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

// runPython runs one interpreter over many inputs, one answer for each. The program defines f(*texts), which gets bytes.
func runPython(t *testing.T, program string, inputs [][][]byte) []string {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("SKIPPED: python3 is missing: what Python makes of a document was not tried")
	}
	var in bytes.Buffer
	for _, texts := range inputs {
		for i, text := range texts {
			if i > 0 {
				in.WriteByte(' ')
			}
			in.WriteString("b" + base64.StdEncoding.EncodeToString(text))
		}
		in.WriteByte('\n')
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", `
import base64, json, sys
sys.set_int_max_str_digits(0) if hasattr(sys, "set_int_max_str_digits") else None
`+program+`
for line in sys.stdin:
    out = f(*[base64.b64decode(x[1:]) for x in line.rstrip("\n").split(" ")])
    print(base64.b64encode(out).decode() if isinstance(out, bytes) else out)
`)
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var answers []string
	for s := bufio.NewScanner(bytes.NewReader(append(out, '\n'))); len(answers) < len(inputs) && s.Scan(); {
		answers = append(answers, s.Text())
	}
	require.Len(t, answers, len(inputs))
	return answers
}

// What Python's json.loads takes is valid here, and the other way round. The differences: a text without any value is a
// missing document here, and Python wants to be asked before it takes a byte order mark (utf-8-sig).
func TestPythonReadsTheSame(t *testing.T) {
	texts := []string{
		`[NaN, Infinity, -Infinity]`, `[nan]`, `[-NaN]`, `[+1]`, `[.5]`, `[1.]`, `[01]`, `[1e5, 1E+5, 1e-400, 1e400]`, `["\ud800", "\udc00\ud800"]`,
		`["\x"]`, "[\"\t\"]", "[\"\x7f\"]", `{"a": 1, "a": 2}`, `{a: 1}`, `{'a': 1}`, `[1,]`, `[,1]`, `{"a": 1,}`, `[1 2]`, `// c`, "[1]\x00", "\xef\xbb\xbf[1]",
		"[\"\xed\xa0\x80\"]", "[\"\xff\"]", "[\"\xc3\xa9\"]", `["\u00e"]`, `["\u00g0"]`, `[` + strings.Repeat("9", 5000) + `]`, "\x0b[1]", "\u00a0[1]", "[1]\x1f", "-", "--1", "-Infinity",
		"tru", "truee", `"`, `"\`, "[1]]", "{}{}", "\"\u2028\"", "1 ", "[1\r\n,\t2]",
	}
	mutate := rapid.Custom(func(t *rapid.T) string {
		text := anyDialect(t, "in").write(anyDocument(t))
		for range rapid.IntRange(0, 3).Draw(t, "mutations") {
			i := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			text[i] = rapid.SampledFrom([]byte("{}[]\",:\\ue1-.0 \n\x00\x80\xc3ntNI")).Draw(t, "byte")
		}
		return string(text)
	})
	for i := range 2000 {
		texts = append(texts, mutate.Example(i))
	}
	var inputs [][][]byte
	for _, s := range texts {
		inputs = append(inputs, [][]byte{[]byte(s)})
	}
	answers := runPython(t, `
def f(b):
    try:
        json.loads(b.decode("utf-8-sig"))
        return "ok"
    except ValueError as e:
        return "error"
`, inputs)
	valid := 0
	for i, s := range texts {
		ok := merge.Valid([]byte(s), merge.JSON) == nil
		if strings.Trim(s, " \t\r\n") == "" {
			require.True(t, ok, "%q", s)
			continue
		}
		require.Equal(t, answers[i] == "ok", ok, "%q", s)
		if ok {
			valid++
		}
	}
	require.Greater(t, valid, 300)
	require.Greater(t, len(texts)-valid, 300)
}

type pythonCase struct {
	base, ours, theirs []byte
	merged             []byte
	conflicts          int
	want               any
	sure               bool
}

func pythonCases(t *testing.T) []pythonCase {
	generate := rapid.Custom(func(rt *rapid.T) pythonCase {
		b := anyDocument(rt)
		o, th := edited(rt, b), edited(rt, b)
		c := pythonCase{base: anyDialect(rt, "base").write(b), ours: anyDialect(rt, "ours").write(o), theirs: anyDialect(rt, "theirs").write(th)}
		merged, conflicts := mergeTexts(rt, c.base, c.ours, c.theirs, nil)
		c.merged, c.conflicts = merged, len(conflicts)
		c.want, c.sure = naive(b, o, th)
		return c
	})
	var cases []pythonCase
	for i := range 1000 {
		if c := generate.Example(i); c.sure {
			cases = append(cases, c)
		}
	}
	return cases
}

// The output loads in Python and is there what a merge of dictionaries gives.
func TestPythonLoadsTheOutcome(t *testing.T) {
	var inputs [][][]byte
	cases := pythonCases(t)
	for _, c := range cases {
		inputs = append(inputs, [][]byte{c.merged, python.write(c.want)})
	}
	for i, answer := range runPython(t, `
def f(merged, want):
    return json.loads(merged) == json.loads(want)
`, inputs) {
		require.Equal(t, "True", answer, "%s\n%s", inputs[i][0], inputs[i][1])
	}
}

// A program that loads and dumps ours changes nothing in the outcome, whichever way it dumps, and whatever it does to
// numbers whose value it keeps.
func TestPythonLoadAndDump(t *testing.T) {
	cases := pythonCases(t)
	var inputs [][][]byte
	for i, c := range cases {
		style := []string{`{}`, `{"indent": 2}`, `{"ensure_ascii": false}`, `{"indent": 4, "sort_keys": true}`, `{"separators": [",", ":"]}`}[i%5]
		inputs = append(inputs, [][]byte{[]byte(style), c.ours})
	}
	dumped := runPython(t, `
def f(style, ours):
    return json.dumps(json.loads(ours), **json.loads(style)).encode("utf-8", "surrogatepass")
`, inputs)
	changed := 0
	for i, c := range cases {
		text, err := base64.StdEncoding.DecodeString(dumped[i])
		require.NoError(t, err)
		if bytes.Equal(c.base, c.theirs) {
			continue
		}
		got, conflicts := mergeTexts(t, c.base, text, c.theirs, nil)
		require.True(t, equal(decode(t, c.merged), decode(t, got)), "ours %s\ndumped %s\nwant %s\ngot %s", c.ours, text, c.merged, got)
		require.Len(t, conflicts, c.conflicts)
		change, err := merge.Diff(c.ours, text, merge.JSON, nil)
		require.NoError(t, err)
		require.True(t, change.Empty(), "%s dumped as %s", c.ours, text)
		if !bytes.Equal(text, c.ours) {
			changed++
		}
	}
	require.Greater(t, changed, len(cases)/4)
}

// Escapes, literals and doubles as Python rewrites them, in one document.
func TestPythonRewritesNothing(t *testing.T) {
	hard := []byte(`{"a": 1.10, "b": 1e5, "c": "x\/y", "d": "\u00e9é\ud83d\ude00", "e": NaN, "f": -Infinity, "g": "\ud800", "h": 9007199254740993, ` +
		`"i": ` + strings.Repeat("7", 5000) + `, "j": -0.0, "k": [1E+2, 0.1, 1.0], "l": 1, "l": 2, "\u0041": true}`)
	answer := runPython(t, `
def f(b):
    return json.dumps(json.loads(b), indent=1).encode("utf-8", "surrogatepass")
`, [][][]byte{{hard}})[0]
	text, err := base64.StdEncoding.DecodeString(answer)
	require.NoError(t, err)
	change, err := merge.Diff(hard, text, merge.JSON, nil)
	require.NoError(t, err)
	require.Empty(t, change.Edits(), "%s", text)
	require.True(t, change.Empty())
}
