package merge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// Bases are in the order of likelihood; "" is a missing document.
func TestMadeFrom(t *testing.T) {
	for name, c := range map[string]struct {
		ours  string
		bases []string
		want  int
	}{
		"one":                        {`{"a":1}`, []string{`{}`}, 0},
		"missing":                    {`{"a":1}`, []string{``}, 0},
		"nothing written":            {`[]`, []string{`[]`, `[1]`}, 0},
		"from memory":                {`{"mine":[1,2]}`, []string{`{"mine":[1],"theirs":1}`, `{"mine":[1]}`}, 1},
		"from what was read":         {`{"mine":[1,2],"theirs":1}`, []string{`{"mine":[1],"theirs":1}`, `{"mine":[1]}`}, 0},
		"some of theirs taken up":    {`{"mine":2,"x":1}`, []string{`{"mine":1,"x":1,"y":1}`, `{"mine":1}`}, 0},
		"a consumer that takes all":  {`[]`, []string{`["j3"]`, `[]`}, 0},
		"list [] [1] []":             {`[]`, []string{`[1]`, `[]`}, 0},
		"appends to a list":          {`["a1","a2"]`, []string{`["a1","b1"]`, `["a1"]`}, 1},
		"list elements shift":        {`["b1","a1","a2"]`, []string{`["b1","a1"]`, `["a1"]`}, 0},
		"memory of the one before":   {`{"a":2,"b":1}`, []string{`{"a":1,"b":1,"x":1}`, `{"a":1,"b":1}`, `{"a":1}`}, 1},
		"a record others changed":    {`{"r":{"n":1},"m":1}`, []string{`{"r":{"n":2}}`, `{"r":{"n":1}}`}, 1},
		"torn candidate":             {`{"a":1}`, []string{`{"a"`, `{}`}, 1},
		"written back as it was":     {`{"a":1}`, []string{`{"a":1,"b":2}`, `{"a":1}`}, 0},
		"same value, other spelling": {`{"a":1,"m":1}`, []string{`{"a": 1.0}`, `{"a":1}`}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var bases [][]byte
			for _, b := range c.bases {
				bases = append(bases, []byte(b))
			}
			require.Equal(t, c.want, merge.MadeFrom([]byte(c.ours), bases, 0, merge.JSON, nil))
		})
	}
	lines := [][]byte{[]byte("1\n2\n"), []byte("1\n")}
	require.Equal(t, 1, merge.MadeFrom([]byte("1\n3\n"), lines, 0, merge.Lines, nil))
	require.Equal(t, 0, merge.MadeFrom([]byte("1\n2\n3\n"), lines, 0, merge.Lines, nil))
}

// That both counted on from the same number says nothing.
func TestMadeFromWhatCountsAlike(t *testing.T) {
	policy := &merge.Policy{Rules: []merge.Rule{{At: "/n", Merge: merge.Sum}, {At: "/by/*/n", Merge: merge.Sum}}}
	for name, c := range map[string]struct {
		ours   string
		bases  []string // newest first
		likely int
		want   int
	}{
		"from memory":                {`{"n":2,"mine":1}`, []string{`{"n":2,"theirs":1}`, `{"n":1}`}, 0, 1},
		"from memory, deeper":        {`{"by":{"a":{"n":2}},"mine":1}`, []string{`{"by":{"a":{"n":2}},"theirs":1}`, `{"by":{"a":{"n":1}}}`}, 0, 1},
		"a counter that is new":      {`{"n":1,"mine":1}`, []string{`{"n":1,"theirs":1}`, `{"mine":0}`}, 0, 1},
		"from what was read":         {`{"n":3,"theirs":1,"mine":1}`, []string{`{"n":2,"theirs":1}`, `{"n":1}`}, 0, 0},
		"what is theirs is in it":    {`{"n":2,"y":1,"mine":1}`, []string{`{"n":2,"x":1,"y":1}`, `{"n":1}`}, 0, 0},
		"a thread that counts alone": {`{"n":2}`, []string{`{"n":2}`, `{"n":1}`}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var bases [][]byte
			for _, b := range c.bases {
				bases = append(bases, []byte(b))
			}
			require.Equal(t, c.want, merge.MadeFrom([]byte(c.ours), bases, c.likely, merge.JSON, policy))
		})
	}
	require.Equal(t, 0, merge.MadeFrom([]byte(`{"n":2,"mine":1}`), [][]byte{[]byte(`{"n":2,"theirs":1}`), []byte(`{"n":1}`)}, 0, merge.JSON, nil),
		"without a policy a number that both set is one that was read")
}

// What another thread of the process was given last.
func TestMadeFromWhatAnotherThreadRead(t *testing.T) {
	for name, c := range map[string]struct {
		ours  string
		bases []string // newest first
		want  int
	}{
		"a goroutine that moved on":        {`{"l":[1,2,3]}`, []string{`{"l":[1,2]}`, `{"l":[1]}`}, 0},
		"a thread of its own":              {`{"a":1,"mine":1}`, []string{`{"a":1,"b":1}`, `{"a":1}`}, 1},
		"a thread that saves as it was":    {`{"a":1}`, []string{`{"a":1,"b":1}`, `{"a":1}`}, 1},
		"one that knows half of it":        {`{"a":1,"b":1,"m":1}`, []string{`{"a":1,"b":1,"c":1}`, `{"a":1,"b":1}`, `{"a":1}`}, 1},
		"nothing happened in between":      {`{"a":1,"m":1}`, []string{`{"a":1}`, `{"a": 1}`}, 1},
		"and then from memory, even older": {`{"m":2}`, []string{`{"m":1,"x":1,"y":1}`, `{"m":1,"x":1}`, `{"m":1}`}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var bases [][]byte
			for _, b := range c.bases {
				bases = append(bases, []byte(b))
			}
			likely := 1
			if len(bases) == 3 && name == "one that knows half of it" {
				likely = 2
			}
			require.Equal(t, c.want, merge.MadeFrom([]byte(c.ours), bases, likely, merge.JSON, nil))
		})
	}
}

// In an incomplete version an element that stands where another one did is a new one.
func TestAdditionsOnlyTakesWhatStandsInAnothersPlace(t *testing.T) {
	for _, c := range []struct{ base, ours, theirs, want string }{
		{"1\n3\n", "1\n4\n", "1\n3\n", "1\n3\n4\n"},
		{"{\"id\":1,\"n\":1}\n", "{\"id\":1,\"n\":2}\n", "{\"id\":1,\"n\":1}\n", "{\"id\":1,\"n\":1}\n"},
		{"1\n3\n", "1\n4\n", "1\n", "1\n4\n"},
	} {
		change, err := merge.Diff([]byte(c.base), []byte(c.ours), merge.Lines, nil)
		require.NoError(t, err)
		doc, err := merge.Parse([]byte(c.theirs), merge.Lines)
		require.NoError(t, err)
		_, err = doc.Merge(change.AdditionsOnly(), nil)
		require.NoError(t, err)
		require.Equal(t, c.want, string(doc.Bytes()))
	}
}
