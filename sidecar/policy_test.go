package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// underPolicy makes a directory with a policy and a target.
func underPolicy(t *testing.T, policy, name, content string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "jsonguard.json"), []byte(policy), 0o600))
	target := filepath.Join(dir, "sub", name)
	require.NoError(t, os.Mkdir(filepath.Dir(target), 0o700))
	require.NoError(t, os.WriteFile(target, []byte(content), 0o600))
	return target
}

func guardFor(t *testing.T, target string, o Options) *Guard {
	g, err := Open(target, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func targetText(t *testing.T, target string) string {
	raw, err := os.ReadFile(target)
	require.NoError(t, err)
	return string(raw)
}

func TestEveryGuardFindsThePolicyAboveItsTarget(t *testing.T) {
	target := underPolicy(t, `{"rules": [{"at": "/n", "merge": "sum"}, {"at": "/twice", "derive": ".n * 2"}]}`, "a.json", `{"n": 5, "twice": 0}`)
	for _, want := range []string{`{"n": 6, "twice": 12}`, `{"n": 7, "twice": 14}`} {
		g := guardFor(t, target, Options{})
		_, err := g.Import(t.Context(), []byte(`{"n": 5, "twice": 0}`), []byte(`{"n": 6, "twice": 0}`))
		require.NoError(t, err)
		require.Equal(t, want, targetText(t, target))
	}
	// One that is given is all there is.
	g := guardFor(t, target, Options{Policy: &merge.Policy{}})
	_, err := g.Import(t.Context(), []byte(`{"n": 5}`), []byte(`{"n": 6}`))
	require.NoError(t, err)
	require.Equal(t, `{"n": 6, "twice": 14}`, targetText(t, target))
	// As is a file that is named.
	other := filepath.Join(t.TempDir(), "other.json")
	require.NoError(t, os.WriteFile(other, []byte(`{"rules": [{"at": "/n", "merge": "theirs"}]}`), 0o600))
	g = guardFor(t, target, Options{PolicyFile: other})
	_, err = g.Import(t.Context(), []byte(`{"n": 5}`), []byte(`{"n": 9}`))
	require.NoError(t, err)
	require.Equal(t, `{"n": 6, "twice": 14}`, targetText(t, target))
	log, err := g.Conflicts(t.Context())
	require.NoError(t, err)
	require.Len(t, log, 2, "what lost is logged, also where nothing was pending and nothing changed")
	require.Equal(t, "9", *log[1].Ours)
}

// A process that has a file open for days folds the changes of those who know the policy of today.
func TestAGuardFollowsItsPolicy(t *testing.T) {
	target := underPolicy(t, `{"rules": [{"at": "/other", "merge": "sum"}]}`, "a.json", `{"n": 5}`)
	rules := filepath.Join(filepath.Dir(target), "..", "jsonguard.json")
	var warned []string
	g := guardFor(t, target, Options{Warn: func(text string) { warned = append(warned, text) }})
	add := func(want string) {
		t.Helper()
		_, err := g.Import(t.Context(), []byte(`{"n": 5}`), []byte(`{"n": 6}`))
		require.NoError(t, err)
		require.Equal(t, want, targetText(t, target))
	}
	add(`{"n": 6}`)
	require.NoError(t, os.WriteFile(rules, []byte(`{"rules": [{"at": "/n", "merge": "sum"}]}`), 0o600))
	add(`{"n": 7}`)
	require.Empty(t, warned)
	require.NoError(t, os.WriteFile(rules, []byte(`{"rules": [{"at": "/n", "merge"`), 0o600)) // somebody is editing it
	add(`{"n": 8}`)
	require.Len(t, warned, 1)
	require.NoError(t, os.Remove(rules))
	add(`{"n": 6}`)

	// What was given, and not found, is all there is.
	require.NoError(t, os.WriteFile(rules, []byte(`{"rules": [{"at": "/n", "merge": "sum"}]}`), 0o600))
	given := guardFor(t, target, Options{Policy: &merge.Policy{}})
	_, err := given.Import(t.Context(), []byte(`{"n": 5}`), []byte(`{"n": 6}`))
	require.NoError(t, err)
	require.Equal(t, `{"n": 6}`, targetText(t, target))
}

func TestAWrongPolicyIsAnErrorOfOpen(t *testing.T) {
	target := underPolicy(t, "{\n  \"rules\": [{\"at\": \"/n\", \"merge\": \"summ\"}]\n}", "a.json", `{}`)
	_, err := Open(target, Options{})
	require.ErrorIs(t, err, ErrPolicy)
	require.ErrorContains(t, err, `jsonguard.json:2:35: /rules/0/merge: unknown value "summ"`)
	_, err = NewSession(target, Options{})
	require.ErrorIs(t, err, ErrPolicy)
	_, err = Open(target, Options{PolicyFile: filepath.Join(t.TempDir(), "none.json")})
	require.ErrorIs(t, err, ErrPolicy)
	entries, err := os.ReadDir(filepath.Dir(target))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestThePolicyCanLeaveTheLockAlone(t *testing.T) {
	target := underPolicy(t, `{"lock": "inside"}`, "a.json", `{}`)
	g := guardFor(t, target, Options{})
	_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpSet, At: "/a", Value: merge.Raw("1")})
	require.NoError(t, err)
	require.NoFileExists(t, target+".lock")
}

// Operations that another process journaled are mapped by whoever folds them.
func TestOperationsAreMappedWhenTheyAreFolded(t *testing.T) {
	policy := `{"rules": [{"at": "/m", "rename": [{"match": "^x\\d?$", "to": "X"}]}]}`
	target := underPolicy(t, policy, "a.json", `{"m": {"X": {"n": 1}}}`)
	g := guardFor(t, target, Options{})
	require.NoError(t, g.Journal(t.Context(), merge.Op{Kind: merge.OpIncr, At: "/m/x1/n", Value: merge.Raw("2")}))
	_, err := guardFor(t, target, Options{}).Flush(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"m": {"X": {"n": 3}}}`, targetText(t, target))
}

// A line that is appended may have to be changed first: then it is not just put behind the others.
func TestAppendedLinesAreUnderThePolicy(t *testing.T) {
	policy := `{"rules": [{"at": "/*", "rename": [{"match": "(?i)^name$", "to": "name"}]}, {"at": "/*/rate", "derive": ".good / .total"}]}`
	target := underPolicy(t, policy, "a.jsonl", "{\"name\":\"a\",\"good\":1,\"total\":2}\n")
	g := guardFor(t, target, Options{})
	_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpAppend, Value: merge.Raw(`{"NAME":"b","good":1,"total":4}`)})
	require.NoError(t, err)
	require.Equal(t, "{\"name\":\"a\",\"good\":1,\"total\":2}\n{\"name\":\"b\",\"good\":1,\"total\":4,\"rate\":0.25}\n", targetText(t, target))
}

// A jq program that does not end holds up a fold no longer than its limit, and costs nobody a change.
func TestDeriveHasATimeLimit(t *testing.T) {
	policy := `{"rules": [{"at": "/a/x", "derive": "def f: f; f"}, {"at": "/a/y", "derive": ".n"}]}`
	target := underPolicy(t, policy, "a.json", `{"a": {"n": 1, "x": 1, "y": 1}}`)
	var warnings []string
	g := guardFor(t, target, Options{Warn: func(text string) { warnings = append(warnings, text) }})
	began := time.Now()
	_, err := g.Apply(t.Context(), merge.Op{Kind: merge.OpIncr, At: "/a/n", Value: merge.Raw("1")})
	require.NoError(t, err)
	require.Less(t, time.Since(began), 30*deriveLimit)
	require.Contains(t, targetText(t, target), `"n": 2, "x": 1`)
	require.NotEmpty(t, warnings)
	require.Contains(t, warnings[0], "/a/x is not derived")
}

// What was moved belongs to the version that its writer wrote. A program that reads again sees the numbers of the target.
func TestMovesEndWithTheVersionTheyBelongTo(t *testing.T) {
	const start = `{"t": {"1": {"by": "old"}}}`
	target := underPolicy(t, `{"rules": [{"at": "/t", "merge": "renumber"}]}`, "a.json", start)
	s, err := NewSession(target, Options{})
	require.NoError(t, err)
	defer s.Close(false)
	write := func(pid int, base, ours string) {
		_, err := s.publish(Writer{PID: pid}, []byte(ours), Bases{Versions: [][]byte{[]byte(base)}})
		require.NoError(t, err)
		_, err = s.Fold(context.Background(), Closed{})
		require.NoError(t, err)
	}
	const a, b = `{"t": {"1": {"by": "old"}, "2": {"by": "A"}}}`, `{"t": {"1": {"by": "old"}, "2": {"by": "B"}}}`
	write(1, start, a)
	write(2, start, b)
	const both = `{"t": {"1": {"by": "old"}, "2": {"by": "A"}, "3": {"by": "B"}}}`
	require.Equal(t, both, targetText(t, target))
	// B goes on from what it wrote: its 2 is 3.
	const b2 = `{"t": {"1": {"by": "old"}, "2": {"by": "B", "n": 1}}}`
	write(2, b, b2)
	require.Equal(t, `{"t": {"1": {"by": "old"}, "2": {"by": "A"}, "3": {"by": "B", "n": 1}}}`, targetText(t, target))
	// A different process that happens to have written the same text has nothing to do with it.
	write(1, b2, `{"t": {"1": {"by": "old"}, "2": {"by": "B", "n": 1}, "x": 1}}`)
	require.Equal(t, `{"t": {"1": {"by": "old"}, "2": {"by": "A"}, "3": {"by": "B", "n": 1}, "x": 1}}`, targetText(t, target))
	// B reads: the 2 it sees is A's.
	now := targetText(t, target)
	write(2, now, `{"t": {"1": {"by": "old"}, "2": {"by": "A", "seen": "by B"}, "3": {"by": "B", "n": 1}, "x": 1}}`)
	require.Equal(t, `{"t": {"1": {"by": "old"}, "2": {"by": "A", "seen": "by B"}, "3": {"by": "B", "n": 1}, "x": 1}}`, targetText(t, target))
}

func TestThePolicyTakesWhatIsCompleteOfATornWrite(t *testing.T) {
	const start = `{"a": 1, "z": 9}`
	for policy, want := range map[string]string{
		`{"torn": "additions"}`:  `{"a": 1, "b": {"x": 2}, "z": 9}`,
		`{"torn": "quarantine"}`: start,
		`{}`:                     start,
	} {
		target := underPolicy(t, policy, "a.json", start)
		g := guardFor(t, target, Options{})
		v, err := g.View(t.Context())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(v.Path(), []byte(`{"a": 5, "b": {"x": 2}, "c`), 0o600))
		_, err = v.Close(t.Context())
		require.ErrorIs(t, err, ErrTorn, "it is said, whatever is taken of it")
		for range 2 {
			_, err = guardFor(t, target, Options{}).Flush(t.Context())
			require.NoError(t, err)
			require.JSONEq(t, want, targetText(t, target), policy)
		}
	}
}
