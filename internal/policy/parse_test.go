package policy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

const example = `{
  "files": ["results.json", "runs/**/*.jsonl"],
  "rules": [
    {"at": "/models/*/total_tests",  "merge": "sum"},
    {"at": "/models/*/success_rate", "derive": ".success / .total_tests"},
    {"at": "/models/*/runs",         "merge": "keyed", "key": ["id"]},
    {"at": "/_default",              "merge": "renumber"},
    {"at": "/models", "rename": [{"match": "(?i)^deepseek-v3-0324(-\\d+)?$", "to": "DeepSeek-V3-0324"}]}
  ],
  "conflicts": "log",
  "torn": "quarantine",
  "history": {"keep": 50, "days": 7}
}
`

func TestParse(t *testing.T) {
	p, err := Parse("jsonguard.json", []byte(example))
	require.NoError(t, err)
	require.Equal(t, []string{"results.json", "runs/**/*.jsonl"}, p.Files)
	require.Len(t, p.Rules, 5)
	require.Equal(t, Rule{Line: 6, At: "/models/*/runs", Merge: merge.Keyed, Key: []string{"id"}}, p.Rules[2])
	require.Equal(t, &History{Keep: 50, Days: 7}, p.History)
	require.Equal(t, "quarantine", p.Torn)
	require.Len(t, p.Merge.Rules, 3)
	require.Len(t, p.Merge.Derived, 1)
	require.Len(t, p.Merge.Renames, 1)
}

// valid and invalid are policies on which the schema and Parse agree; onlyParse are those that a schema cannot judge.
var valid = []string{
	example, `{}`, `{"$schema":"x"}`, `{"rules":[]}`, `{"strict":true,"adopt":false,"duplicates":"collapse"}`,
	`{"lock":"inside","base":"memory","torn":"additions","conflicts":"log","history":{}}`, `{"base":"last-read","duplicates":"reject"}`,
	`{"rules":[{"at":"","merge":"append"}]}`, `{"rules":[{"at":"/**","merge":"fail"}]}`, `{"rules":[{"at":"/a~1b/~0","merge":"first"}]}`,
	`{"rules":[{"at":"/a","merge":"keyed","key":"id"}]}`, `{"rules":[{"at":"/a","merge":"keyed","key":["a","b"]}]}`,
	`{"rules":[{"at":"/**/rate","derive":".a/.b"}]}`, `{"rules":[{"at":"/a/","derive":".a"}]}`,
	`{"rules":[{"at":"/m","rename":[{"match":"^x$","to":"y"}],"when":"normalize"}]}`, `{"rules":[{"at":"/m","rename":[{"match":"^x$","to":"y"}],"when":"fold"}]}`,
	`{"files":["**"]}`, `{"files":["a/*/b?.json","**/x.json",".hidden/a","..a"]}`, `{"history":{"keep":1}}`, `{"history":{"size":1000}}`, `{"history":{"size":"500MB"}}`, `{"history":{"size":"2 GiB"}}`,
}

var invalid = []struct{ policy, where, text, hint string }{
	{`[]`, "1:1", "an array, not an object", ""},
	{`{"fils":["a"]}`, "1:2", `unknown key "fils"`, `did you mean "files"?`},
	{"{\n  \"rules\": [\n    {\"at\": \"/a\", \"mrege\": \"sum\"}\n  ]\n}", "3:18", `unknown key "mrege"`, `did you mean "merge"?`},
	{"{\n  \"rules\": [\n    {\"at\": \"/a\", \"merge\": \"summ\"}\n  ]\n}", "3:27", `unknown value "summ"`, `did you mean "sum"?`},
	{`{"rules":[{"at":"/a","merge":"zzzzzz"}]}`, "1:30", `unknown value "zzzzzz"`, `one of "ours"`},
	{`{"rules":{}}`, "1:10", "an object, not an array", ""},
	{`{"rules":[1]}`, "1:11", "a number, not an object", ""},
	{`{"rules":[{"merge":"sum"}]}`, "1:11", `without "at"`, "/models/*/total"},
	{`{"rules":[{"at":"/a"}]}`, "1:11", `one of "merge", "derive" and "rename"`, ""},
	{`{"rules":[{"at":"/a","merge":"sum","derive":".a"}]}`, "1:45", `not "merge" and "derive"`, ""},
	{`{"rules":[{"at":"/a","merge":"sum","rename":[{"match":"^x$","to":"y"}]}]}`, "1:45", `not "merge" and "rename"`, ""},
	{`{"rules":[{"at":"/a","merge":"keyed"}]}`, "1:30", `needs "key"`, `"key": ["id"]`},
	{`{"rules":[{"at":"/a","merge":"sum","key":"id"}]}`, "1:42", `only "keyed"`, ""},
	{`{"rules":[{"at":"/a","merge":"keyed","key":[]}]}`, "1:44", "empty key", ""},
	{`{"rules":[{"at":"/a","merge":"keyed","key":["a","a"]}]}`, "1:49", "twice", ""},
	{`{"rules":[{"at":"/a","merge":"sum","when":"fold"}]}`, "1:43", `only "rename"`, ""},
	{`{"rules":[{"at":"/a","derive":".a","when":"fold"}]}`, "1:43", `only "rename"`, ""},
	{`{"rules":[{"at":"/a/*","derive":".a"}]}`, "1:17", "last step", ""},
	{`{"rules":[{"at":"/a/**","derive":".a"}]}`, "1:17", "last step", ""},
	{`{"rules":[{"at":"","derive":".a"}]}`, "1:17", "last step", ""},
	{`{"rules":[{"at":"a","merge":"sum"}]}`, "1:17", "must start with a slash", ""},
	{`{"rules":[{"at":"/a~2","merge":"sum"}]}`, "1:17", "tilde", ""},
	{`{"rules":[{"at":7,"merge":"sum"}]}`, "1:17", "a number, not a string", ""},
	{`{"rules":[{"at":"/a","rename":[]}]}`, "1:31", "without a spelling", ""},
	{`{"rules":[{"at":"/a","rename":[{"match":"^x$"}]}]}`, "1:32", `"match" and "to"`, ""},
	{`{"rules":[{"at":"/a","rename":[{"match":"^x$","too":"y"}]}]}`, "1:47", `unknown key "too"`, `did you mean "to"?`},
	{`{"files":[]}`, "1:10", "for no file", ""},
	{`{"files":["../../etc/x.json"]}`, "1:11", "leaves", "below"},
	{`{"files":["a/../../b"]}`, "1:11", "leaves", ""},
	{`{"files":["/etc/x.json"]}`, "1:11", "absolute", ""},
	{`{"files":["C:/x.json"]}`, "1:11", "absolute", ""},
	{`{"files":["a\\..\\b"]}`, "1:11", "backslash", ""},
	{`{"files":["a//b"]}`, "1:11", "empty step", ""},
	{`{"files":["./a"]}`, "1:11", "empty step", ""},
	{`{"files":[""]}`, "1:11", "empty path", ""},
	{`{"files":["a/**b"]}`, "1:11", "stands alone", ""},
	{`{"strict":1}`, "1:11", "not true or false", ""},
	{`{"duplicates":"colapse"}`, "1:15", "unknown value", `did you mean "collapse"?`},
	{`{"lock":"outside"}`, "1:9", "unknown value", "inside"},
	{`{"base":"last_read"}`, "1:9", "unknown value", `did you mean "last-read"?`},
	{`{"torn":"add"}`, "1:9", "unknown value", `did you mean "additions"?`},
	{`{"conflicts":"ignore"}`, "1:14", "unknown value", ""},
	{`{"history":{"keep":0}}`, "1:20", "whole number", ""},
	{`{"history":{"days":1.5}}`, "1:20", "whole number", ""},
	{`{"history":{"size":"5"}}`, "1:20", "with a unit", `"500MB"`},
	{`{"history":{"size":"0MB"}}`, "1:20", "with a unit", ""},
	{`{"history":{"size":-1}}`, "1:20", "whole number", ""},
	{`{"history":{"size":"9999999TB"}}`, "1:20", "with a unit", ""},
	{`{"history":{"kept":1}}`, "1:13", "unknown key", `did you mean "keep"?`},
}

var onlyParse = []struct{ policy, where, text, hint string }{
	{``, "1:1", "ends too early", ""},
	{"{\n  // first\n}", "2:3", "no JSON", "without comments"},
	{`{"rules":[],"rules":[]}`, "1:13", "no JSON", ""},
	{`{} {}`, "1:4", "behind the policy", ""},
	{`{"files":["a`, "1:13", "too early", ""},
	{`{"files":["a["]}`, "1:11", "bracket", ""},
	{`{"rules":[{"at":"/a","derive":".a |"}]}`, "1:31", "jq:", "a jq program"},
	{`{"rules":[{"at":"/a","derive":"nope(.a)"}]}`, "1:31", "jq:", ""},
	{`{"rules":[{"at":"/a","rename":[{"match":"(","to":"y"}]}]}`, "1:41", "missing closing )", "re2"},
	{`{"rules":[{"at":"/a","rename":[{"match":"x","to":"xx"},{"match":"^y","to":"x"}]}]}`, "1:31", "must stay", "anchor"},
	{`{"rules":[{"at":"/a","rename":[{"match":"^a$","to":"b"},{"match":"^b$","to":"a"}]}]}`, "1:31", "must stay", ""},
	{`{"rules":[{"at":"/a","rename":[{"match":"^a$","to":"b"}]},{"at":"/*","rename":[{"match":"^b$","to":"c"}]}]}`, "1:1", "must stay", ""},
}

func TestSchemaAndParserAgree(t *testing.T) {
	v, err := newValidator()
	require.NoError(t, err)
	bySchema := func(policy string) bool {
		var x any
		require.NoError(t, json.Unmarshal([]byte(policy), &x), policy)
		ok, err := v.valid(v.root, x)
		require.NoError(t, err)
		return ok
	}
	for _, policy := range valid {
		_, err := Parse("jsonguard.json", []byte(policy))
		require.NoError(t, err, policy)
		require.True(t, bySchema(policy), "the schema refuses %s", policy)
	}
	for _, c := range invalid {
		requireError(t, c.policy, c.where, c.text, c.hint)
		require.False(t, bySchema(c.policy), "the schema takes %s", c.policy)
	}
	for _, c := range onlyParse {
		requireError(t, c.policy, c.where, c.text, c.hint)
	}
}

// Every strategy and every key of the parser is in the schema, under its own name.
func TestSchemaKnowsEveryWord(t *testing.T) {
	for _, words := range [][]string{topKeys, ruleKeys, duplicates, bases, torns, whens, strategyNames()} {
		for _, w := range words {
			require.Contains(t, string(Schema), `"`+w+`"`)
		}
	}
}

func requireError(t *testing.T, policy, where, text, hint string) {
	_, err := Parse("jsonguard.json", []byte(policy))
	var e *Error
	require.True(t, errors.As(err, &e), "%s: %v", policy, err)
	require.True(t, strings.HasPrefix(e.Error(), "jsonguard.json:"+where+":"), "%s: %s, want %s", policy, e, where)
	require.Contains(t, e.Text, text, policy)
	require.Contains(t, e.Hint, hint, policy)
}

func TestErrorNamesTheKey(t *testing.T) {
	_, err := Parse("p.json", []byte(`{"rules":[{"at":"/a","merge":"sum"},{"at":"/b","merge":"summ"}]}`))
	require.EqualError(t, err, `p.json:1:56: /rules/1/merge: unknown value "summ"`)
}

// What would be slow, or reach out of its directory, is refused or harmless.
func TestHostilePolicies(t *testing.T) {
	began := time.Now()
	long := strings.Repeat("a", 5000)
	for _, policy := range []string{
		`{"rules":[{"at":"/` + long + `","merge":"sum"}]}`,
		`{"rules":[{"at":"` + strings.Repeat("/**", 100) + `","merge":"sum"}]}`,
		`{"files":["` + long + `"]}`,
		`{"rules":[{"at":"/m","rename":[{"match":"` + long + `","to":"x"}]}]}`,
		`{"rules":[{"at":"/m","rename":[{"match":"((a{1,1000}){1,1000}){1,1000}","to":"x"}]}]}`,
		`{"rules":[` + strings.Repeat(`{"at":"/a","merge":"sum"},`, 1000) + `{"at":"/a","merge":"sum"}]}`,
		strings.Repeat("[", 1<<20),
		`{"rules":[{"at":"/x","derive":"` + strings.Repeat("(", 900) + `"}]}`,
		`{"$schema":"` + strings.Repeat(" ", maxSize) + `"}`,
	} {
		_, err := Parse("jsonguard.json", []byte(policy))
		var e *Error
		require.True(t, errors.As(err, &e), "%.60s: %v", policy, err)
	}
	p, err := Parse("/d/jsonguard.json", []byte(`{"files":["`+strings.Repeat("**/", 100)+strings.Repeat("*a", 200)+`b"]}`))
	require.NoError(t, err)
	require.False(t, p.Names("/d"+strings.Repeat("/"+strings.Repeat("a", 200), 100)))
	p, err = Parse("/d/jsonguard.json", []byte(`{"rules":[{"at":"/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b","merge":"sum"}]}`))
	require.NoError(t, err)
	at, err := merge.ParsePointer(strings.Repeat("/a", 5000))
	require.NoError(t, err)
	_, i := p.Merge.Rule(at)
	require.Equal(t, -1, i)
	require.Less(t, time.Since(began), 20*time.Second) // each of them took milliseconds, or would take for ever
}

func TestNearest(t *testing.T) {
	words := []string{"files", "rules", "strict"}
	for word, want := range map[string]string{"fiels": "files", "rule": "rules", "Rules": "rules", "stric": "strict", "x": "", "history": ""} {
		require.Equal(t, want, Nearest(word, words), word)
	}
}
