package sidecar

import (
	"bytes"
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

func recordLine(i int) string {
	return fmt.Sprintf("{\"id\": %d, \"score\": %d, \"note\": \"lorem ipsum %d\"}\n", i, i%7, i%3)
}

func linesUpTo(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		b.WriteString(recordLine(i))
	}
	return b.Bytes()
}

// openText is a text in a file.
func openText(t *testing.T, text []byte) *os.File {
	path := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(path, text, 0o644))
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// writeLines is what a supervisor does for a program that rewrites a file of lines: it says which of bases, which are not in memory, the
// version was made from.
func (t *sessionTest) writeLines(s *Session, content []byte, bases ...*os.File) int {
	b := Bases{Versions: make([][]byte, len(bases))}
	for _, file := range bases {
		info, err := file.Stat()
		require.NoError(t, err)
		b.Files = append(b.Files, io.NewSectionReader(file, 0, info.Size()))
	}
	x, f, err := s.Create(Writer{}, os.O_WRONLY, 0o644, nil, b, 0)
	require.NoError(t, err)
	_, err = f.Write(content)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	closed, err := x.Open()
	require.NoError(t, err)
	defer closed.Close()
	from, err := x.PrepareFrom(closed, b)
	require.NoError(t, err)
	require.NoError(t, x.Finish(false))
	return from
}

// Two programs change lines, put some in and take some out, under two supervisors: by their excerpts they are folded to what the texts are
// merged to, and what is in conflict stands in the same places.
func TestLargeLinesAreFoldedToWhatTheyMergeTo(t *testing.T) {
	base := linesUpTo(Large + Large/4)
	random := rand.New(rand.NewPCG(9, 2))
	edited := func(text []byte, by int) []byte {
		for range 4 {
			switch at := 500 + random.IntN(15000); random.IntN(5) {
			case 0:
				text = replacedIn(text, recordLine(at), fmt.Sprintf("%s{\"id\": %d}\n", recordLine(at), random.IntN(3)-1e6))
			case 1:
				text = replacedIn(text, recordLine(at), "")
			case 2:
				text = replacedIn(text, recordLine(at), fmt.Sprintf("{\"id\": %d, \"score\": -%d, \"note\": \"lorem ipsum %d\"}\n", at, by, at%3))
			case 3: // written in another way
				text = replacedIn(text, recordLine(at), fmt.Sprintf("{\"id\": %d.0, \"score\": %d, \"note\": \"lorem ipsum %d\"} \n", at, at%7, at%3))
			default: // maybe where the other does, too
				at = 600 + random.IntN(3)
				text = replacedIn(text, recordLine(at), fmt.Sprintf("{\"id\": %d, \"score\": -%d, \"note\": \"lorem ipsum %d\"}\n", at, by, at%3))
			}
		}
		return fmt.Appendf(text[:len(text):len(text)], "{\"id\": -%d}\n", by)
	}
	for round := range 4 {
		s := newSessionTest(t, "a.jsonl", string(edited(base, 2)))
		before := []byte(s.content())
		a, b := s.session(Options{}), s.session(Options{})
		byA, byB := edited(base, 3), edited(before, 4)
		if round == 3 {
			byB = edited(base, 4) // from memory
		}
		bases := [][]byte{before, base}
		fromA := s.writeLines(a, byA, openText(t, base))
		fromB := s.writeLines(b, byB, openText(t, before), openText(t, base))
		require.Zero(t, fromA)
		require.Equal(t, merge.MadeFrom(byB, bases, 0, merge.Lines, nil), fromB)
		want, first, err := merge.Merge(base, byA, before, merge.Lines, nil)
		require.NoError(t, err)
		want, second, err := merge.Merge(bases[fromB], byB, want, merge.Lines, nil)
		require.NoError(t, err)
		var places, said []string
		for _, c := range append(first.Conflicts, second.Conflicts...) {
			places = append(places, c.At+" "+c.Reason)
		}
		r := s.fold(b)
		require.Equal(t, 2, r.Folded)
		require.True(t, string(want) == s.content(), "round %d", round)
		for _, c := range r.Conflicts {
			said = append(said, c.At+" "+c.Reason)
		}
		require.Equal(t, places, said, "round %d", round)
		require.Zero(t, s.fold(a).Folded, "once")
		require.Empty(t, s.scratches())
		require.NoError(t, a.Close(false))
		require.NoError(t, b.Close(false))
	}
}

// Of lines that two programs write, what they made them from is found and they are merged without more in memory than what differs, and
// eight bytes for each line.
func TestMemoryOfLinesThatAreMerged(t *testing.T) {
	base := linesUpTo(8 << 20)
	put := func(text []byte, at, gone int) []byte {
		return replacedIn(text, recordLine(at), fmt.Sprintf("%s{\"id\": -%d}\n", recordLine(at), at), recordLine(gone), "")
	}
	theirs := replacedIn(base, recordLine(30000), "{\"id\": 30000}\n")
	s := newSessionTest(t, "a.jsonl", string(theirs))
	a, b := s.session(Options{}), s.session(Options{})
	byA, byB := put(base, 40000, 60000), put(theirs, 50000, 20000)
	first, second := openText(t, base), openText(t, theirs)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Zero(t, s.writeLines(a, byA, first))
	require.Zero(t, s.writeLines(b, byB, second, first))
	r := s.fold(b)
	runtime.ReadMemStats(&after)
	require.Equal(t, 2, r.Folded)
	require.True(t, string(put(put(theirs, 50000, 20000), 40000, 60000)) == s.content())
	t.Logf("%.1f of %.1f MB", float64(after.TotalAlloc-before.TotalAlloc)/1e6, float64(len(base))/1e6)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(3*len(base)), "all that was ever allocated: merged in memory, several times as much")
}

// What a program reads behind what its supervisor had copied when it opened its version, as lines are appended in place, it did not add.
func TestLinesReadSinceTheCopyAreNobodysOwn(t *testing.T) {
	copied := linesUpTo(Large + Large/4)
	read := append(bytes.Clone(copied), "{\"id\": -7}\n"...)
	for name, grown := range map[string]bool{"read since": true, "all copied": false} {
		t.Run(name, func(t *testing.T) {
			target := read
			if grown { // another one has taken that line out again
				target = copied
			}
			s := newSessionTest(t, "a.jsonl", string(target))
			a := s.session(Options{})
			file := openText(t, read)
			had := Bases{Versions: make([][]byte, 1), Files: []io.ReaderAt{io.NewSectionReader(file, 0, int64(len(target)))}}
			x, f, err := a.Create(Writer{}, os.O_WRONLY, 0o644, nil, had, 0)
			require.NoError(t, err)
			_, err = f.Write(replacedIn(read, recordLine(5000), ""))
			require.NoError(t, err)
			require.NoError(t, f.Close())
			closed, err := x.Open()
			require.NoError(t, err)
			defer closed.Close()
			has := Bases{Versions: make([][]byte, 1), Files: []io.ReaderAt{io.NewSectionReader(file, 0, int64(len(read)))}}
			_, err = x.PrepareFrom(closed, has)
			require.NoError(t, err)
			require.NoError(t, x.Finish(false))
			require.Equal(t, 1, s.fold(a).Folded)
			require.True(t, string(replacedIn(target, recordLine(5000), "")) == s.content())
		})
	}
}

// The newest of two that a program may have started from turned out not to be read: the other one is not taken for that.
func TestWhichCopyIsOfABase(t *testing.T) {
	copied := linesUpTo(Large + Large/4)
	read := append(bytes.Clone(copied), "{\"id\": -7}\n"...)
	a := newSessionTest(t, "a.jsonl", "").session(Options{})
	x, f, err := a.Create(Writer{}, os.O_WRONLY, 0o644, nil, Bases{Versions: [][]byte{read, copied}}, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	defer x.Discard()
	require.True(t, x.isCopied(2, int64(len(read))))
	require.True(t, x.isCopied(1, int64(len(copied))))
	require.False(t, x.isCopied(1, int64(len(read))))
	require.False(t, x.isCopied(3, int64(len(read))))
}

// A rewrite that was closed by a signal is taken as one that adds, whatever was found out about it before.
func TestLargeLinesOfAProgramThatWasKilled(t *testing.T) {
	base := linesUpTo(Large + Large/4)
	s := newSessionTest(t, "a.jsonl", string(base))
	a := s.session(Options{})
	file := openText(t, base)
	bases := Bases{Versions: make([][]byte, 1), Files: []io.ReaderAt{io.NewSectionReader(file, 0, int64(len(base)))}}
	x, f, err := a.Create(Writer{}, os.O_WRONLY, 0o644, nil, bases, 0)
	require.NoError(t, err)
	_, err = f.Write(append(replacedIn(base, recordLine(5000), ""), "{\"id\": -1}\n"...))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	closed, err := x.Open()
	require.NoError(t, err)
	defer closed.Close()
	_, err = x.PrepareFrom(closed, bases)
	require.NoError(t, err)
	require.NoError(t, x.Finish(true))
	require.Equal(t, 1, s.fold(a).Folded)
	require.True(t, string(base)+"{\"id\": -1}\n" == s.content())
}
