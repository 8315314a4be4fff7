package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// manyRecords is a document that is large enough to count.
func manyRecords() []byte { return recordsOf(tight) }

func recordsOf(size int) []byte {
	var b bytes.Buffer
	b.WriteString("{\n  \"first\": 1,\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "  \"r%07d\": {\"score\": %d, \"note\": \"lorem ipsum dolor\"},\n", i, i)
	}
	b.WriteString("  \"last\": 1\n}\n")
	return b.Bytes()
}

// prepared is a version whose diff was made before the fold.
func (t *sessionTest) prepared(s *Session, content, base string) *Scratch {
	x := t.write(s, content, base)
	_, err := x.Prepare([]byte(content), Bases{Versions: [][]byte{[]byte(base)}})
	require.NoError(t, err)
	return x
}

func TestLargeVersionsAreMergedOneAtATime(t *testing.T) {
	base := string(manyRecords())
	replaced := func(content, old, new string) string {
		return string(bytes.Replace([]byte(content), []byte(old), []byte(new), 1))
	}
	byA, byB := replaced(base, `"first": 1`, `"first": 2`), replaced(base, `"last": 1`, `"last": 3`)
	both := replaced(byA, `"last": 1`, `"last": 3`)
	for name, target := range map[string]string{"the base of both": base, "another": replaced(base, `"score": 7,`, `"score": 70,`)} {
		for _, folds := range []string{"a", "b"} {
			t.Run(name+", folded by "+folds, func(t *testing.T) {
				s := newSessionTest(t, "a.json", target)
				a, b := s.session(Options{}), s.session(Options{})
				s.prepared(a, byA, base)
				s.prepared(b, byB, base)
				by := map[string]*Session{"a": a, "b": b}[folds]
				require.Equal(t, 2, s.fold(by).Folded)
				want := both
				if target != base {
					want = replaced(both, `"score": 7,`, `"score": 70,`)
				}
				require.True(t, want == s.content(), "both changes, and no other byte")
				require.Empty(t, by.prepared)
				found, err := by.g.Verify(context.Background(), false)
				require.NoError(t, err)
				for _, f := range found {
					require.True(t, f.OK, f)
				}
				// Nothing is written where two large versions change nothing.
				before, err := os.Stat(s.target)
				require.NoError(t, err)
				s.prepared(a, want, want)
				s.prepared(b, want, want)
				require.False(t, s.fold(by).Changed)
				after, err := os.Stat(s.target)
				require.NoError(t, err)
				require.True(t, os.SameFile(before, after))
			})
		}
	}
}

// Of what waits for its turn nothing is in memory.
func TestLargeVersionsWaitOnDisk(t *testing.T) {
	base := manyRecords()
	s := newSessionTest(t, "a.json", string(base))
	a := s.session(Options{})
	ours := append(bytes.Clone(base), '\n')
	first, second := s.prepared(a, string(ours), string(base)), s.prepared(a, string(ours), string(base))
	file, err := a.g.parent.OpenFile(a.g.name, os.O_RDONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	f := &fold{g: a.g, target: &snapshot{file: file, content: pieces{base}, loaded: true}}
	f.target.info, err = file.Stat()
	require.NoError(t, err)
	for _, x := range []*Scratch{first, second} {
		sc := &sidecarFile{name: x.Sidecar(), scratch: &scratchFile{content: ours}}
		sc.makeUp(line{Seq: 1})
		f.pending = append(f.pending, pendingLine{&sc.lines[0], sc})
	}
	f.oneAtATime()
	require.NotNil(t, a.preparedFor(first.Sidecar()).change)
	require.NotNil(t, f.pending[0].from.scratch.content)
	require.Nil(t, a.preparedFor(second.Sidecar()).change)
	require.Nil(t, f.pending[1].from.scratch.content)
	require.False(t, f.target.loaded)
	require.Nil(t, f.target.content)
	require.True(t, f.target.is(pieces{base}))
	require.False(t, f.target.is(pieces{ours}))
}

// What is refused goes to quarantine whole.
func TestALargeVersionThatIsRefused(t *testing.T) {
	base := manyRecords()
	target := underPolicy(t, `{"duplicates": "reject"}`, "a.json", string(base))
	s := &sessionTest{t, target}
	a := s.session(Options{})
	good := bytes.Replace(base, []byte(`"first": 1`), []byte(`"first": 2`), 1)
	bad := bytes.Replace(base, []byte(`"last": 1`), []byte(`"last": 1, "last": 2`), 1)
	s.prepared(a, string(good), string(base))
	s.prepared(a, string(bad), string(base))
	r := s.fold(a)
	require.Equal(t, 1, r.Folded)
	require.Len(t, r.Rejected, 1)
	require.True(t, string(good) == s.content())
	kept, err := filepath.Glob(filepath.Join(a.g.GuardDir(), "quarantine", "*"))
	require.NoError(t, err)
	found := false
	for _, name := range kept {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		found = found || bytes.Equal(content, bad)
	}
	require.True(t, found, kept)
}
