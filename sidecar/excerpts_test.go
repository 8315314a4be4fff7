package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// replacedIn replaces the first of each.
func replacedIn(text []byte, pairs ...string) []byte {
	for i := 0; i < len(pairs); i += 2 {
		text = bytes.Replace(text, []byte(pairs[i]), []byte(pairs[i+1]), 1)
	}
	return text
}

// A program read what another had written meanwhile, or still has its own last version in memory: two versions that its next one may be
// made from. Neither they, nor that, nor what the target is by then, is ever in memory.
func TestMemoryOfVersionsThatAreMerged(t *testing.T) {
	first := recordsOf(12 << 20)
	own := replacedIn(first, `"first": 1`, `"first": 2`)
	read := replacedIn(own, `"score": 777,`, `"score": 7770,`)
	for name, c := range map[string]struct{ ours, want []byte }{
		"from what was read": {replacedIn(read, `"score": 99,`, `"score": 990,`), replacedIn(read, `"score": 99,`, `"score": 990,`, `"last": 1`, `"last": 9`)},
		"from memory":        {replacedIn(own, `"score": 99,`, `"score": 990,`), replacedIn(read, `"score": 99,`, `"score": 990,`, `"last": 1`, `"last": 9`)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSessionTest(t, "a.json", string(replacedIn(read, `"last": 1`, `"last": 9`)))
			a := s.session(Options{})
			var files []io.ReaderAt
			for i, base := range [][]byte{read, own} {
				path := filepath.Join(t.TempDir(), fmt.Sprint(i))
				require.NoError(t, os.WriteFile(path, base, 0o644))
				file, err := os.Open(path)
				require.NoError(t, err)
				defer file.Close()
				files = append(files, file)
			}
			bases := Bases{Versions: make([][]byte, 2), Files: files}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			x, f, err := a.Create(Writer{}, os.O_WRONLY, 0o644, nil, bases, 0)
			require.NoError(t, err)
			_, err = f.Write(c.ours)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			closed, err := x.Open()
			require.NoError(t, err)
			defer closed.Close()
			from, err := x.PrepareFrom(closed, bases)
			require.NoError(t, err)
			require.Equal(t, name == "from memory", from == 1)
			r := s.fold(a)
			runtime.ReadMemStats(&after)
			require.Equal(t, 1, r.Folded)
			require.True(t, r.Changed)
			require.Nil(t, r.Published, "the target is no version of a program")
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(first)), "all that was ever allocated")
			require.True(t, string(c.want) == s.content())
			require.Empty(t, s.scratches())
			require.Zero(t, s.fold(a).Folded, "once")
			found, err := a.g.Verify(context.Background(), false)
			require.NoError(t, err)
			for _, f := range found {
				require.True(t, f.OK, f)
			}
		})
	}
}

// Versions of two supervisors that are folded by their excerpts, if they can be, are folded to what they are merged to in memory.
func TestLargeVersionsAreFoldedToWhatTheyMergeTo(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	base := recordsOf(Large + Large/4)
	records := bytes.Count(base, []byte("score"))
	edit := func(text []byte, places int) []byte {
		for range places {
			at := random.IntN(records)
			switch random.IntN(4) {
			case 0: // maybe where the other does, too
				at = 500 + random.IntN(3)
				text = replacedIn(text, fmt.Sprintf(`"score": %d,`, at), fmt.Sprintf(`"score": %d,`, -random.IntN(9)))
			case 1:
				text = replacedIn(text, fmt.Sprintf(`"r%07d": {`, at), fmt.Sprintf("\"n%07d\": %d,\n  \"r%07d\": {", random.IntN(1e7), at, at))
			case 2: // written in another way
				text = replacedIn(text, fmt.Sprintf(`"score": %d,`, at), fmt.Sprintf(`"score":%d.0 ,`, at))
			default:
				text = replacedIn(text, fmt.Sprintf(`"score": %d,`, at), fmt.Sprintf(`"score": %d,`, -random.IntN(1e6)))
			}
		}
		return text
	}
	for _, places := range []int{0, 1, 2, 5, 30, 100} {
		s := newSessionTest(t, "a.json", string(edit(base, places/2)))
		before := []byte(s.content())
		a, b := s.session(Options{}), s.session(Options{})
		byA, byB := edit(base, places), edit(base, places)
		if places == 2 { // in its own way from end to end
			byA = bytes.ReplaceAll(byA, []byte(`"note": `), []byte(`"note":`))
		}
		s.write(a, string(byA), string(base))
		s.write(b, string(byB), string(before), string(base))
		content, overlay, err := a.reader.overlay(context.Background())
		require.NoError(t, err)
		require.True(t, overlay)
		r := s.fold(b)
		require.Equal(t, 2, r.Folded)
		bases := [][]byte{before, base}
		want, first, err := merge.Merge(base, byA, before, merge.JSON, nil)
		require.NoError(t, err)
		want, second, err := merge.Merge(bases[merge.MadeFrom(byB, bases, 0, merge.JSON, nil)], byB, want, merge.JSON, nil)
		require.NoError(t, err)
		require.True(t, string(want) == s.content(), places)
		require.True(t, string(want) == string(content), places)
		require.Len(t, r.Conflicts, len(first.Conflicts)+len(second.Conflicts))
		require.Equal(t, string(want) != string(before), r.Changed)
		require.NoError(t, a.Close(false))
		require.NoError(t, b.Close(false))
	}
}

// Somebody without a lock writes into the target, in place, while parts of it are copied.
func TestAJoinedTextThatChanges(t *testing.T) {
	dir := t.TempDir()
	s := newSessionTest(t, "a.json", `{"n":1}`)
	a := s.session(Options{})
	target := filepath.Join(dir, "of")
	require.NoError(t, os.WriteFile(target, []byte("0123456789"), 0o644))
	require.NoError(t, os.WriteFile(s.target, []byte("0123456789"), 0o644))
	from, err := a.g.parent.OpenFile(a.g.name, os.O_RDWR, 0)
	require.NoError(t, err)
	defer from.Close()
	out := &joinedText{files: nil, parts: []merge.Part{{From: 2, To: 5}, {Bytes: []byte("-")}, {From: 0, To: 10}}}
	out.files = append(out.files, from)
	require.NoError(t, out.measure())
	require.Equal(t, contentHash([]byte("234-0123456789")), out.hash())
	require.Equal(t, int64(14), out.size())
	text, err := out.read()
	require.NoError(t, err)
	require.Equal(t, "234-0123456789", string(text))
	to, err := a.g.parent.OpenFile("to", os.O_RDWR|os.O_CREATE, 0o644)
	require.NoError(t, err)
	defer to.Close()
	require.NoError(t, out.writeTo(to))
	written, err := os.ReadFile(filepath.Join(filepath.Dir(s.target), "to"))
	require.NoError(t, err)
	require.Equal(t, "234-0123456789", string(written))
	require.NoError(t, os.WriteFile(s.target, []byte("0123x56789"), 0o644))
	require.ErrorIs(t, out.writeTo(to), errMoved)
	require.NoError(t, os.Truncate(s.target, 4))
	require.ErrorIs(t, out.writeTo(to), errMoved)
}

func TestExcerptsAreNotForEveryFold(t *testing.T) {
	base := manyRecords()
	ours := replacedIn(base, `"first": 1`, `"first": 2`)
	theirs := replacedIn(base, `"last": 1`, `"last": 3`)
	want := replacedIn(theirs, `"first": 1`, `"first": 2`)
	t.Run("a policy that derives", func(t *testing.T) {
		target := underPolicy(t, `{"rules": [{"at": "/first", "derive": "[.[]] | length"}]}`, "a.json", string(theirs))
		s := &sessionTest{t, target}
		a := s.session(Options{})
		s.write(a, string(ours), string(base))
		require.Equal(t, 1, s.fold(a).Folded)
		n := bytes.Count(theirs, []byte(`"r0`)) + 2
		require.True(t, string(replacedIn(theirs, `"first": 1`, fmt.Sprintf(`"first": %d`, n))) == s.content())
	})
	t.Run("with a journaled change", func(t *testing.T) {
		s := newSessionTest(t, "a.json", string(theirs))
		a := s.session(Options{})
		s.write(a, string(ours), string(base))
		g := guardFor(t, s.target, Options{})
		require.NoError(t, g.Journal(context.Background(), merge.Op{Kind: merge.OpSet, At: "/last", Value: merge.Raw("4")}))
		s.fold(a)
		require.True(t, string(replacedIn(want, `"last": 3`, `"last": 4`)) == s.content())
	})
	t.Run("a target that is no document", func(t *testing.T) {
		broken := replacedIn(theirs, `"score": 7,`, `"score": 7`)
		s := newSessionTest(t, "a.json", string(broken))
		a := s.session(Options{})
		s.write(a, string(ours), string(base))
		_, err := a.Fold(context.Background(), Closed{})
		var damaged unparsableTarget
		require.ErrorAs(t, err, &damaged)
		require.True(t, string(broken) == s.content())
		require.Len(t, s.scratches(), 3, "it stays pending")
	})
}
