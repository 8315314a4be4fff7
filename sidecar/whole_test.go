package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// checked is a version that its supervisor has looked at.
func (t *sessionTest) checked(s *Session, content string, bases ...string) *Scratch {
	x := t.write(s, content, bases...)
	f, err := x.Open()
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, x.Check(f))
	return x
}

// Restyled, as a program writes it, and with what no merge would keep.
const wholeBase, wholeOurs = `{"n": 1.0, "n": 1.10}`, "{\n  \"n\": 1.1,\n\"m\" :2 }\n\n"

func TestAWholeVersionIsTakenAsItIs(t *testing.T) {
	for name, write := range map[string]func(s *sessionTest, by *Session) *Scratch{
		"checked": func(s *sessionTest, by *Session) *Scratch { return s.checked(by, wholeOurs, wholeBase) },
		"not":     func(s *sessionTest, by *Session) *Scratch { return s.write(by, wholeOurs, wholeBase) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSessionTest(t, "a.json", wholeBase)
			require.NoError(t, os.Chmod(s.target, 0o640))
			a, b := s.session(Options{}), s.session(Options{})
			for _, by := range []*Session{a, b} {
				x := write(s, a)
				r := s.fold(by)
				require.Equal(t, 1, r.Folded)
				require.True(t, r.Changed)
				require.NotNil(t, r.Published)
				require.Equal(t, wholeOurs, s.content())
				info, err := os.Stat(s.target)
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o640), info.Mode())
				require.Zero(t, s.fold(by).Folded, "once")
				require.Empty(t, s.scratches())
				_, err = a.Fold(context.Background(), Closed{Files: []*Scratch{x}})
				require.NoError(t, err)
				require.Empty(t, a.prepared, "nothing is kept of what another has folded")
				// Back again, and from what is known to be whole.
				s.checked(a, wholeBase, wholeOurs)
				require.Equal(t, 1, s.fold(by).Folded)
				require.Equal(t, wholeBase, s.content())
				clear(a.prepared)
			}
			// Nothing is written where nothing changes.
			before, err := os.Stat(s.target)
			require.NoError(t, err)
			write(s, a)
			s.fold(a)
			s.checked(a, wholeOurs, wholeOurs)
			after, err := os.Stat(s.target)
			require.NoError(t, err)
			require.False(t, os.SameFile(before, after))
			require.False(t, s.fold(a).Changed)
			now, err := os.Stat(s.target)
			require.NoError(t, err)
			require.True(t, os.SameFile(after, now))
			require.Empty(t, s.scratches())
			found, err := a.g.Verify(context.Background(), false)
			require.NoError(t, err)
			for _, f := range found {
				require.True(t, f.OK, f)
			}
		})
	}
}

// An outsider has written into the target, in place, the same number of bytes, and put its time back.
func TestAWholeVersionIsMergedIntoAnother(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n":1,"m":1}`)
	a := s.session(Options{})
	x := s.checked(a, `{"n":1,"m":2}`, `{"n":1,"m":1}`)
	info, err := os.Stat(s.target)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.target, []byte(`{"n":3,"m":1}`), 0o644))
	require.NoError(t, os.Chtimes(s.target, time.Time{}, info.ModTime()))
	require.Equal(t, 1, s.fold(a).Folded)
	require.JSONEq(t, `{"n":3,"m":2}`, s.content())
	require.True(t, a.gone([]*Scratch{x}))
}

func TestAWholeVersionAmongOthers(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n":1}`)
	a, b := s.session(Options{}), s.session(Options{})
	s.checked(a, `{"n":1,"a":1}`, `{"n":1}`)
	s.checked(b, `{"n":1,"b":1}`, `{"n":1}`)
	g := guardFor(t, s.target, Options{})
	err := g.Journal(context.Background(), merge.Op{Kind: merge.OpSet, At: "/c", Value: merge.Raw("1")})
	require.NoError(t, err)
	s.fold(a)
	require.JSONEq(t, `{"n":1,"a":1,"b":1,"c":1}`, s.content())
	// With a change of the caller's own.
	s.checked(a, `{"n":2}`, s.content())
	_, err = g.Apply(context.Background(), merge.Op{Kind: merge.OpSet, At: "/c", Value: merge.Raw("2")})
	require.NoError(t, err)
	require.JSONEq(t, `{"n":2,"c":2}`, s.content())
}

func TestAWholeVersionOfWhatCannotBeParsed(t *testing.T) {
	const broken = `{"n": 1`
	s := newSessionTest(t, "a.json", broken)
	a := s.session(Options{})
	s.checked(a, `{"n": 2}`, broken)
	r, err := a.Fold(context.Background(), Closed{})
	require.True(t, err != nil || len(r.Rejected) > 0)
	require.Equal(t, broken, s.content())
}

// What was found whole is not what is there: nothing is published, and the next fold looks again.
func TestAWholeVersionThatChangesAfterItWasChecked(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n":1}`)
	a := s.session(Options{})
	x := s.checked(a, `{"n":2}`, `{"n":1}`)
	require.NoError(t, os.WriteFile(filepath.Join(a.Dir(), x.n+scratchSuffix), []byte(`{"n":{`), 0o644)) // of one length less
	require.NoError(t, os.WriteFile(filepath.Join(a.Dir(), x.n+scratchSuffix), []byte(`{"n":}}`), 0o644))
	_, err := a.Fold(context.Background(), Closed{})
	require.ErrorIs(t, err, ErrDamaged)
	require.Equal(t, `{"n":1}`, s.content())
	require.Zero(t, s.fold(a).Folded, "it is no document any more")
	require.NoError(t, os.WriteFile(filepath.Join(a.Dir(), x.n+scratchSuffix), []byte(`{"n":3}`), 0o644))
	require.Equal(t, 1, s.fold(a).Folded)
	require.Equal(t, `{"n":3}`, s.content())
}

func TestAWholeVersionUnderAPolicy(t *testing.T) {
	for policy, want := range map[string]string{
		`{"rules": [{"at": "/n", "merge": "sum"}]}`:                        `{"n":5,"a":1,"a":2}`,
		`{"duplicates": "collapse"}`:                                       `{"n":5,"a":2}`,
		`{"rules": [{"at": "/d", "derive": ".n * 2"}]}`:                    `{"n":5,"a":1,"a":2,"d":10}`,
		`{"rules": [{"at": "", "rename": [{"match": "^n$", "to": "N"}]}]}`: `{"n":5,"a":2}`,
	} {
		target := underPolicy(t, policy, "a.json", `{"n":1}`)
		s := &sessionTest{t, target}
		a := s.session(Options{})
		s.checked(a, `{"n":5,"a":1,"a":2}`, `{"n":1}`)
		require.Equal(t, 1, s.fold(a).Folded)
		require.Equal(t, strings.ReplaceAll(want, " ", ""), strings.NewReplacer(" ", "", "\n", "").Replace(s.content()), policy)
	}
}

// A read before the fold has its lock sees the version, too.
func TestAWholeVersionIsReadBeforeItIsFolded(t *testing.T) {
	s := newSessionTest(t, "a.json", wholeBase)
	a := s.session(Options{})
	s.checked(a, wholeOurs, wholeBase)
	content, overlay, err := a.reader.overlay(context.Background())
	require.NoError(t, err)
	require.True(t, overlay)
	require.Equal(t, wholeOurs, string(content))
	require.Equal(t, wholeBase, s.content())
}

// A large version is folded in a window.
func TestMemoryOfAWholeVersion(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("{\n")
	for i := range 200_000 {
		fmt.Fprintf(&b, "  \"r%07d\": {\"score\": %d, \"note\": \"lorem ipsum dolor\"},\n", i, i)
	}
	b.WriteString("  \"last\": 1\n}\n")
	base, ours := b.Bytes(), bytes.Replace(b.Bytes(), []byte(`"last": 1`), []byte(`"last": 2`), 1)
	s := newSessionTest(t, "a.json", string(base))
	a := s.session(Options{})
	file, err := os.Open(s.target)
	require.NoError(t, err)
	defer file.Close()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	x, f, err := a.Create(Writer{}, os.O_WRONLY, 0o644, nil, Bases{Versions: [][]byte{nil}, Files: []io.ReaderAt{file}}, 0)
	require.NoError(t, err)
	_, err = f.Write(ours)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	closed, err := x.Open()
	require.NoError(t, err)
	defer closed.Close()
	require.NoError(t, x.Check(closed))
	require.Equal(t, 1, s.fold(a).Folded)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(len(ours)/2))
	require.Equal(t, string(ours), s.content())
}
