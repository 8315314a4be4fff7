package policy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"jsonguard/merge"
)

// A trace is what several writers do to one document under a policy, one step after the other:
//
//	-- policy --         jsonguard.json
//	-- target --         the document; each further one says what it must be by then, byte for byte
//	-- A reads --        A takes the document as it is
//	-- A writes --       A's new version, made from what it read or wrote last, is folded
//	-- do --             operations, one a line: incr /n 1
//	-- normalize --      the joins expected: /models: a + b -> c
//	-- conflicts --      all conflicts since the last such section, one a line: /n: ours taken
//	-- underived --      errors of derive since the last such section
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			tr := &trace{t: t, policy: &Policy{}, writers: map[string]*writer{}}
			for _, step := range archive.Files {
				tr.step(step.Name, string(step.Data))
			}
			require.Empty(t, tr.conflicts, "conflicts that the trace does not name")
			require.Empty(t, tr.underived)
		})
	}
}

type trace struct {
	t         *testing.T
	policy    *Policy
	target    []byte
	begun     bool
	writers   map[string]*writer
	conflicts []string
	underived []string
}

// writer is a program: its own version, and where the document has what that version holds.
type writer struct {
	base  []byte
	moves merge.Moves
}

func (tr *trace) step(name, data string) {
	t := tr.t
	who, verb, _ := strings.Cut(name, " ")
	switch {
	case name == "policy":
		p, err := Parse(Name, []byte(data))
		require.NoError(t, err)
		tr.policy = p
	case name == "target" && !tr.begun:
		tr.target, tr.begun = []byte(data), true
	case name == "target":
		require.Equal(t, data, string(tr.target))
	case verb == "reads":
		tr.writers[who] = &writer{base: tr.target}
	case verb == "writes":
		tr.writes(tr.writers[who], []byte(data))
	case name == "do":
		for line := range strings.Lines(data) {
			tr.do(strings.Fields(line))
		}
	case name == "normalize":
		tr.normalize(data)
	case name == "conflicts":
		require.Equal(t, data, strings.Join(tr.conflicts, ""))
		tr.conflicts = nil
	case name == "underived":
		require.Equal(t, data, strings.Join(tr.underived, ""))
		tr.underived = nil
	default:
		require.Fail(t, "unknown step", name)
	}
}

func (tr *trace) writes(w *writer, version []byte) {
	require.NotNil(tr.t, w, "a writer reads before it writes")
	c, err := merge.Diff(w.base, version, merge.JSON, tr.policy.Merge)
	require.NoError(tr.t, err)
	tr.change(func(d *merge.Document) merge.Outcome {
		out, err := d.Merge(c.From(w.moves), tr.policy.Merge)
		require.NoError(tr.t, err)
		*w = writer{version, out.Moves}
		return out
	})
}

func (tr *trace) do(words []string) {
	op := merge.Op{Kind: words[0], At: words[1]}
	if len(words) > 2 {
		op.Value = merge.Raw(strings.Join(words[2:], " "))
	}
	tr.change(func(d *merge.Document) merge.Outcome {
		require.NoError(tr.t, d.Do(op))
		return merge.Outcome{}
	})
}

func (tr *trace) normalize(want string) {
	tr.change(func(d *merge.Document) merge.Outcome {
		joins, out, err := d.Normalize(tr.policy.Merge)
		require.NoError(tr.t, err)
		var got strings.Builder
		for _, j := range joins {
			fmt.Fprintf(&got, "%s: %s -> %s\n", j.At, strings.Join(j.From, " + "), j.Into)
		}
		require.Equal(tr.t, want, got.String())
		return out
	})
	d, err := merge.Parse(tr.target, merge.JSON)
	require.NoError(tr.t, err)
	again, _, err := d.Normalize(tr.policy.Merge)
	require.NoError(tr.t, err)
	require.Empty(tr.t, again, "normalizing twice is normalizing once")
	require.False(tr.t, d.Changed())
}

// change is one fold.
func (tr *trace) change(f func(*merge.Document) merge.Outcome) {
	d, err := merge.Parse(tr.target, merge.JSON)
	require.NoError(tr.t, err)
	require.NoError(tr.t, d.Under(tr.policy.Merge))
	out := f(d)
	for _, err := range d.Derive(context.Background(), tr.target, tr.policy.Merge) {
		tr.underived = append(tr.underived, err.Error()+"\n")
	}
	for _, c := range out.Conflicts {
		line := fmt.Sprintf("%s: %s taken", c.At, c.Taken)
		if c.Refused {
			line += ", refused"
		}
		tr.conflicts = append(tr.conflicts, line+"\n")
	}
	tr.target = d.Bytes()
	if _, err := merge.Parse(tr.target, merge.JSON); err != nil {
		require.NoError(tr.t, errors.Join(err, errors.New(string(tr.target))))
	}
}
