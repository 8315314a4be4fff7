package policy

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

func lost(at, base, ours, theirs string) Lost {
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return Lost{at, text(base), text(ours), text(theirs)}
}

func TestSuggest(t *testing.T) {
	const doc = `{
		"models": {
			"deepseek-v3-0324": {"total": 10, "good": 5, "success_rate": 0.5, "best": 0.75, "runs": [{"id": 1, "x": 1}, {"id": 2, "x": 2}], "by": "a"},
			"deepseek-v3-0324-2": {"total": 4, "good": 1, "success_rate": 0.25, "best": 0.5, "runs": [], "by": "b"},
			"DeepSeek-V3-0324": {"total": 8, "good": 1, "success_rate": 0.125, "best": 0.5, "runs": [], "by": "b"},
			"qwen2.5-7b": {"total": 3, "good": 3, "success_rate": 1, "best": 0.1, "runs": [], "by": "c"},
			"qwen2.5-72b": {"total": 1, "good": 0, "success_rate": 0, "best": 0.1, "runs": [], "by": "c"}
		},
		"_default": {"1": {"name": "a"}, "2": {"name": "b"}}
	}`
	d, err := merge.Parse([]byte(doc), merge.JSON)
	require.NoError(t, err)
	var log []Lost
	for i := range 120 {
		model := []string{"deepseek-v3-0324", "qwen2.5-7b"}[i%2]
		log = append(log, lost("/models/"+model+"/total", fmt.Sprint(i), fmt.Sprint(i+1), fmt.Sprint(i+2)))
	}
	log = append(log,
		lost("/models/qwen2.5-7b/success_rate", "0.5", "0.4", "0.6"),
		lost("/models/deepseek-v3-0324/by", `"a"`, `"b"`, `"c"`), // nothing to suggest: the later one wins
		lost("/models/deepseek-v3-0324/best", "0.75", "0.5", "0.9"),
		lost("/models/deepseek-v3-0324/runs/1/x", "1", "2", "3"),
		lost("/_default/2/name", "", `"b"`, `"c"`),
		lost("", "", "", ""),
	)
	text := func(s []Suggestion) (out []string) {
		for _, one := range s {
			rule, err := json.Marshal(one.Rule)
			require.NoError(t, err)
			out = append(out, fmt.Sprintf("%s | %s", rule, one.Evidence))
			_, err = Parse(Name, fmt.Appendf(nil, `{"rules":[%s]}`, rule))
			require.NoError(t, err, "what is suggested is a rule")
		}
		return out
	}
	require.Equal(t, []string{
		`{"at":"/models/*/total","merge":"sum"} | 120 conflicts, all increments`,
		`{"at":"/models/*/success_rate","derive":".good / .total"} | 1 conflict; it is .good / .total in 4 records`,
		`{"at":"/models/*/runs","key":["id"],"merge":"keyed"} | 1 conflict in elements of a list whose "id" is unique`,
		`{"at":"/_default","merge":"renumber"} | 1 conflict in what two writers added under one integer key`,
		`{"at":"/models","rename":[{"match":"(?i)^deepseek[-_ ]v3[-_ ]0324([-_.]\\d{1,2})?$","to":"DeepSeek-V3-0324"}]} | 3 keys differ only in a numeric suffix (deepseek-v3-0324, deepseek-v3-0324-2, DeepSeek-V3-0324)`,
	}, text(Suggest(d, log, nil))[:5])

	// What the policy has a rule for is left out; a rate beside a sum is found without a conflict.
	p, err := Parse(Name, []byte(`{"rules": [{"at": "/models/*/runs", "merge": "keyed", "key": "id"}, {"at": "/_default", "merge": "renumber"},
		{"at": "/models", "rename": [{"match": "(?i)^deepseek-v3-0324(-\\d)?$", "to": "DeepSeek-V3-0324"}]}]}`))
	require.NoError(t, err)
	require.Equal(t, []string{
		`{"at":"/models/*/total","merge":"sum"} | 120 conflicts, all increments`,
		`{"at":"/models/*/success_rate","derive":".good / .total"} | it is .good / .total in 4 records, and stands beside a sum`,
	}, text(Suggest(d, append(log[:120], log[123:]...), p)))
	require.Empty(t, Suggest(d, nil, p))
}

func TestExplain(t *testing.T) {
	p, err := Parse(Name, []byte(`{"rules": [
  {"at": "/**", "merge": "last"},
  {"at": "/m/*/n", "merge": "sum"},
  {"at": "/m", "rename": [{"match": "^x", "to": "X"}], "when": "normalize"},
  {"at": "/m", "rename": [{"match": "^y", "to": "Y"}]},
  {"at": "/m/*/r", "derive": ".n"}
]}`))
	require.NoError(t, err)
	for at, want := range map[string][]Explained{
		"/m/y1/n": {
			{5, "/m", `"y1" is spelled "Y"`, true},
			{3, "/m/*/n", "sum: what each writer added is added", true},
			{2, "/**", "last: the later committer's value is taken whole", false},
		},
		"/m/x1/r": {
			{4, "/m", `"x1" is spelled "X", by jsonguard normalize only`, true},
			{6, "/m/*/r", "computed after the merge: .n", true},
			{2, "/**", "last: the later committer's value is taken whole", true},
		},
	} {
		pointer, err := merge.ParsePointer(at)
		require.NoError(t, err)
		_, says := p.Explain(pointer)
		require.Equal(t, want, says, at)
	}
	spelled, says := (&Policy{}).Explain(merge.Pointer{"a"})
	require.Equal(t, merge.Pointer{"a"}, spelled)
	require.Len(t, says, 1)
	require.Contains(t, says[0].Says, "the default")
	for _, s := range merge.Strategies() {
		require.NotEmpty(t, meaning[s], s)
	}
}

func TestAdvise(t *testing.T) {
	p, err := Parse(Name, []byte(`{"rules": [
  {"at": "/m/*/n", "merge": "max"},
  {"at": "/m/*/n", "merge": "sum"},
  {"at": "/nowhere", "merge": "sum"},
  {"at": "/m/*/new", "derive": ".n"},
  {"at": "/m/*/mean_score", "derive": ".n"}
]}`))
	require.NoError(t, err)
	d, err := merge.Parse([]byte(`{"m": {"a": {"n": 1, "success_rate": 0.5, "mean_score": 1}, "b": {"n": 2, "success_rate": 0.5}}}`), merge.JSON)
	require.NoError(t, err)
	require.Equal(t, []Advice{
		{2, "/m/*/n never decides: line 3 is for the same place"},
		{4, "/nowhere is nowhere in the document"},
		{0, `/m/a/success_rate stands beside what is summed (/m/*/n), and has no "derive"`},
	}, p.Advise(d))
	require.Len(t, p.Advise(nil), 1)
}
