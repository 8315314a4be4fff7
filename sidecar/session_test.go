package sidecar

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

type sessionTest struct {
	*testing.T
	target string
}

func newSessionTest(t *testing.T, name, content string) *sessionTest {
	target := filepath.Join(t.TempDir(), name)
	if content != "" {
		require.NoError(t, os.WriteFile(target, []byte(content), 0o644))
	}
	return &sessionTest{t, target}
}

func (t *sessionTest) session(o Options) *Session {
	s, err := NewSession(t.target, o)
	require.NoError(t, err)
	return s
}

// create makes a scratch file with content in it, and leaves it open.
func (t *sessionTest) create(s *Session, content string, bases ...string) (*Scratch, *os.File) {
	var texts [][]byte
	for _, b := range bases {
		if b == "" {
			texts = append(texts, nil)
		} else {
			texts = append(texts, []byte(b))
		}
	}
	x, f, err := s.Create(Writer{PID: 1, Command: "test"}, os.O_WRONLY, 0o644, nil, Bases{Versions: texts}, 0)
	require.NoError(t, err)
	_, err = f.WriteString(content)
	require.NoError(t, err)
	return x, f
}

// createAppended makes one behind a hole as long as the target was, with lines behind that, and leaves it open.
func (t *sessionTest) createAppended(s *Session, before, lines string) (*Scratch, *os.File) {
	x, f, err := s.Create(Writer{}, os.O_WRONLY|os.O_APPEND, 0o644, nil, Bases{}, int64(len(before)))
	require.NoError(t, err)
	_, err = f.WriteString(lines)
	require.NoError(t, err)
	return x, f
}

func (t *sessionTest) write(s *Session, content string, bases ...string) *Scratch {
	x, f := t.create(s, content, bases...)
	require.NoError(t, f.Close())
	return x
}

func (t *sessionTest) fold(s *Session) Result {
	r, err := s.Fold(context.Background(), Closed{})
	require.NoError(t, err)
	return r
}

func (t *sessionTest) content() string {
	b, err := os.ReadFile(t.target)
	require.NoError(t, err)
	return string(b)
}

// scratches lists what is left in views/.
func (t *sessionTest) scratches() []string {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(t.target), ".*.guard", "views", "*", "*.*"))
	require.NoError(t, err)
	return found
}

func TestWritersMerge(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n": 1}`)
	a, b := s.session(Options{}), s.session(Options{})
	s.write(a, `{"n": 1, "a": 1}`, `{"n": 1}`)
	s.write(b, `{"n": 1, "b": 1}`, `{"n": 1}`)
	require.Equal(t, 2, s.fold(a).Folded, "a closed scratch file is folded by whoever comes")
	require.JSONEq(t, `{"n":1,"a":1,"b":1}`, s.content())
	require.Zero(t, s.fold(b).Folded, "once")
	require.Empty(t, s.scratches())
	require.NoError(t, a.Close(false))
	require.NoError(t, b.Close(false))
	left, err := os.ReadDir(filepath.Join(filepath.Dir(s.target), ".a.json.guard", "views"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestOpenWriterIsLeftAlone(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a, b := s.session(Options{}), s.session(Options{})
	_, f := s.create(a, `{"a":1}`, `{}`)
	require.Zero(t, s.fold(b).Folded)
	require.NoError(t, f.Close())
	require.Equal(t, 1, s.fold(b).Folded)
	require.JSONEq(t, `{"a":1}`, s.content())
}

func TestBaseIsChosenByWhoeverFolds(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"mine":[1],"theirs":1}`)
	a, b := s.session(Options{}), s.session(Options{})
	s.write(a, `{"mine":[1,2]}`, `{"mine":[1],"theirs":1}`, `{"mine":[1]}`)
	s.fold(b)
	require.JSONEq(t, `{"mine":[1,2],"theirs":1}`, s.content())
}

func TestPreparedDiffIsUsed(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"mine":[1],"theirs":1}`)
	a := s.session(Options{})
	bases := [][]byte{[]byte(`{"mine":[1],"theirs":1}`), []byte(`{"mine":[1]}`)}
	x := s.write(a, `{"mine":[1,2]}`, string(bases[0]), string(bases[1]))
	i, err := x.Prepare([]byte(`{"mine":[1,2]}`), Bases{Versions: bases})
	require.NoError(t, err)
	require.Equal(t, 1, i)
	// Without its bases only the prepared diff can be what is folded.
	names, err := filepath.Glob(filepath.Join(a.Dir(), "*"+baseSuffix+"*"))
	require.NoError(t, err)
	require.Len(t, names, 2)
	for _, name := range names {
		require.NoError(t, os.Remove(name))
	}
	s.fold(a)
	require.JSONEq(t, `{"mine":[1,2],"theirs":1}`, s.content())
	require.Empty(t, a.prepared)
}

// kill leaves a session as its supervisor's death does.
func kill(t *testing.T, s *Session) {
	require.NoError(t, s.owner.Close())
	require.NoError(t, s.dir.Close())
	s.store.close()
}

func TestDeadSupervisor(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n":1}`)
	a := s.session(Options{})
	s.write(a, `{"n":1,"a":1}`, `{"n":1}`)
	s.write(a, `{"n":1,"to`, `{"n":1}`)
	s.write(a, ``, `{"n":1}`)
	_, open := s.create(a, `{"n":1,"later":1}`, `{"n":1}`)
	b := s.session(Options{})
	require.Equal(t, 1, s.fold(b).Folded, "what is incomplete is its supervisor's to judge")
	kill(t, a)
	r := s.fold(b)
	require.Len(t, r.Torn, 1)
	require.JSONEq(t, `{"n":1,"a":1}`, s.content())
	require.DirExists(t, a.Dir(), "its program lives")
	require.NoError(t, open.Close())
	require.Equal(t, 1, s.fold(b).Folded)
	require.JSONEq(t, `{"n":1,"a":1,"later":1}`, s.content())
	require.NoDirExists(t, a.Dir())

	_, salvaged, err := b.Guard().Recover(context.Background(), true)
	require.NoError(t, err)
	require.Len(t, salvaged, 1)
	require.JSONEq(t, `{"n":1,"a":1,"later":1}`, s.content(), "nothing is deleted")
}

func TestSalvageOfATornScratchFile(t *testing.T) {
	for name, supervisor := range map[string]func(x *Scratch, content, base string) error{
		"killed": func(*Scratch, string, string) error { return nil },
		"killed before it discards what is in quarantine": func(x *Scratch, content, base string) error {
			_, err := x.Quarantine([]byte(content), []byte(base))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			const base, torn = `{"old":1,"l":[]}`, `{"old":1,"l":["x"],"one":1,"two":{"x":1},"thr`
			s := newSessionTest(t, "a.json", base)
			a := s.session(Options{})
			require.NoError(t, supervisor(s.write(a, torn, base), torn, base))
			kill(t, a)
			g, err := Open(s.target, Options{})
			require.NoError(t, err)
			_, salvaged, err := g.Recover(context.Background(), true)
			require.NoError(t, err)
			require.Len(t, salvaged, 1)
			require.JSONEq(t, `{"old":1,"l":["x"],"one":1,"two":{"x":1}}`, s.content())
		})
	}
}

// A crash between the fold and the removal of the scratch file, or a power cut that brings it back.
func TestFoldedScratchFileThatStays(t *testing.T) {
	s := newSessionTest(t, "a.jsonl", "1\n")
	a := s.session(Options{})
	append := func() {
		x, f := s.createAppended(a, "1\n", "2\n")
		require.NoError(t, f.Close())
		scratch := filepath.Join(a.Dir(), x.n+scratchSuffix)
		require.NoError(t, os.Link(scratch, filepath.Join(filepath.Dir(s.target), "kept")))
		require.NoError(t, os.Link(filepath.Join(a.Dir(), x.n+aboutSuffix), filepath.Join(filepath.Dir(s.target), "kept-about")))
		// Put back before the next fold forgets the watermark.
		s.fold(a)
		require.NoError(t, os.Rename(filepath.Join(filepath.Dir(s.target), "kept"), scratch))
		require.NoError(t, os.Rename(filepath.Join(filepath.Dir(s.target), "kept-about"), filepath.Join(a.Dir(), x.n+aboutSuffix)))
	}
	append()
	require.Equal(t, "1\n2\n", s.content())
	require.Zero(t, s.fold(a).Folded)
	require.Equal(t, "1\n2\n", s.content())
	require.Empty(t, s.scratches())
}

func TestLinesAreAppendedInPlace(t *testing.T) {
	s := newSessionTest(t, "a.jsonl", "{\"n\":1}\n")
	a := s.session(Options{})
	before, err := os.Stat(s.target)
	require.NoError(t, err)
	x, f, err := a.Create(Writer{}, os.O_WRONLY|os.O_APPEND, 0o644, nil, Bases{}, before.Size())
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, before.Size(), info.Size(), "the program sees where the end is")
	_, err = f.WriteString("{ \"n\": 2 }\n{\"n\":3}")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s.fold(a)
	require.Equal(t, "{\"n\":1}\n{ \"n\": 2 }\n{\"n\":3}\n", s.content())
	after, err := os.Stat(s.target)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
	_, err = x.Open()
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestLinesRewrite(t *testing.T) {
	s := newSessionTest(t, "a.jsonl", "1\n2\n3\n")
	a, b := s.session(Options{}), s.session(Options{})
	x := s.write(a, "1\n3\n", "1\n2\n3\n")
	require.Zero(t, s.fold(b).Folded, "it may be the beginning of a rewrite")
	require.NoError(t, x.Finish(false))
	require.Equal(t, 1, s.fold(b).Folded)
	require.Equal(t, "1\n3\n", s.content())

	x = s.write(a, "1\n4\n", "1\n3\n")
	_, err := x.Prepare([]byte("1\n4\n"), Bases{Versions: [][]byte{[]byte("1\n3\n")}})
	require.NoError(t, err)
	require.NoError(t, x.Finish(true))
	s.fold(a)
	require.ElementsMatch(t, []string{"1", "3", "4"}, strings.Fields(s.content()), "the writer died: nothing is deleted")

	s.write(a, "5\n", s.content())
	kill(t, a)
	s.fold(b)
	require.ElementsMatch(t, []string{"1", "3", "4", "5"}, strings.Fields(s.content()), "its supervisor, too")
}

func TestPublishWithoutDeleting(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"a":1,"b":1}`)
	a := s.session(Options{})
	const base = `{"a":1,"b":1}`
	x, f := s.create(a, `{"b":1,"c":1}`, base)
	_, now, err := x.Submit(context.Background(), Writer{}, []byte(`{"b":1,"c":1}`), Bases{Versions: [][]byte{[]byte(base)}}, true)
	require.NoError(t, err)
	s.fold(a)
	require.JSONEq(t, `{"a":1,"b":1,"c":1}`, s.content())
	require.JSONEq(t, s.content(), string(now))
	require.NoError(t, f.Close())
	s.fold(a)
	require.JSONEq(t, `{"b":1,"c":1}`, s.content())
}

func TestOnlyANewVersionMakesAMissingTarget(t *testing.T) {
	s := newSessionTest(t, "a.json", ``)
	a := s.session(Options{})
	s.write(a, `{"a":1}`, ``)
	s.fold(a)
	require.JSONEq(t, `{"a":1}`, s.content())
	require.NoError(t, os.Remove(s.target))
	s.write(a, `{"a":1,"b":1}`, `{"a":1}`)
	r := s.fold(a)
	require.Len(t, r.Rejected, 1)
	require.NoFileExists(t, s.target)
	kept, err := os.ReadFile(filepath.Join(filepath.Dir(s.target), ".a.json.guard", "quarantine", fmt.Sprintf("%s.1.version", r.Rejected[0].Sidecar)))
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1,"b":1}`, string(kept))
}

// A read waits for no program: it gets the current version with everything pending in it.
func TestCurrentUnderAForeignLock(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{Timeout: time.Minute})
	g, err := Open(s.target, Options{})
	require.NoError(t, err)
	held, err := g.lockAll(context.Background(), false, g.deadline())
	require.NoError(t, err)
	s.releaseGuardLock(held)
	s.write(a, `{"a":1}`, `{}`)
	content, overlay, _, err := a.Current(context.Background(), Closed{})
	require.NoError(t, err)
	require.True(t, overlay)
	require.JSONEq(t, `{"a":1}`, string(content))
	require.JSONEq(t, `{}`, s.content())
	held.release()
	_, overlay, _, err = a.Current(context.Background(), Closed{})
	require.NoError(t, err)
	require.False(t, overlay)
	require.JSONEq(t, `{"a":1}`, s.content())
}

// releaseGuardLock leaves what a program holds: <target>.lock.
func (t *sessionTest) releaseGuardLock(held *heldLocks) {
	if held.guard != nil {
		require.NoError(t, held.guard.Close())
		held.guard = nil
	}
}

func TestFoldUnderTheTreesHold(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	g, err := Open(s.target, Options{})
	require.NoError(t, err)
	held, err := g.lockAll(context.Background(), false, g.deadline())
	require.NoError(t, err)
	defer held.release()
	s.releaseGuardLock(held)
	a := s.session(Options{Held: func(file string) bool { return file == s.target+".lock" }})
	s.write(a, `{"a":1}`, `{}`)
	s.fold(a)
	require.JSONEq(t, `{"a":1}`, s.content())
}

// To find out who holds a lock, the kernel stops whoever locks a file, of the whole machine, for a while. Where the lock is free nobody
// has to be asked.
func TestAFreeLockIsNotAskedAbout(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	asked := 0
	a := s.session(Options{Held: func(string) bool { asked++; return false }})
	s.write(a, `{"a":1}`, `{}`)
	s.fold(a)
	_, err := a.foldWaiting(context.Background()) // as who waits for a program's lock, and got there when it was given back
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1}`, s.content())
	require.Zero(t, asked)
}

// What one writer closed before another opened is folded before it, though both are pending.
func TestOrderOfPendingScratchFiles(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n":0}`)
	a := s.session(Options{})
	last := `{"n":0}`
	for i := 1; i <= 20; i++ {
		next := fmt.Sprintf(`{"n":%d}`, i)
		s.write(a, next, last)
		last = next
	}
	r := s.fold(a)
	require.Equal(t, 20, r.Folded)
	require.Empty(t, r.Conflicts)
	require.JSONEq(t, last, s.content())
}

func TestNewTargetHasItsMakersMode(t *testing.T) {
	s := newSessionTest(t, "a.json", ``)
	a := s.session(Options{})
	_, f, err := a.Create(Writer{}, os.O_WRONLY, 0o640, nil, Bases{Versions: [][]byte{nil}}, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{}`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s.fold(a)
	info, err := os.Stat(s.target)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
}

func TestWithdraw(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n":1}`)
	g, err := Open(s.target, Options{})
	require.NoError(t, err)
	done, err := g.Withdraw(context.Background(), []byte(`{"n":0}`), true)
	require.NoError(t, err)
	require.False(t, done, "somebody changed it")
	require.FileExists(t, s.target)
	done, err = g.Withdraw(context.Background(), []byte(`{"n":1}`), false)
	require.NoError(t, err)
	require.True(t, done)
	require.Empty(t, s.content())
	done, err = g.Withdraw(context.Background(), []byte(``), true)
	require.NoError(t, err)
	require.True(t, done)
	require.NoFileExists(t, s.target)
	_, err = g.Flush(context.Background())
	require.NoError(t, err)
}

// A program that opened the file long ago, and got the lock and the current version only now, comes behind what it was
// given.
func TestOrderAfterARefresh(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n":0}`)
	a := s.session(Options{})
	late, f, err := a.Create(Writer{}, os.O_RDWR, 0o644, []byte(`{"n":0}`), Bases{Versions: [][]byte{[]byte(`{"n":0}`)}}, 0)
	require.NoError(t, err)
	s.write(a, `{"n":1}`, `{"n":0}`)
	s.fold(a) // the next generation
	s.write(a, `{"n":2}`, `{"n":1}`)
	require.NoError(t, late.Refresh(context.Background(), []byte(`{"n":2}`)))
	_, err = f.WriteAt([]byte(`{"n":3}`), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, 2, s.fold(a).Folded)
	require.JSONEq(t, `{"n":3}`, s.content())
}

// A scratch file that is made while the hint is being written comes behind what it was made from all the same.
func TestGenerationWhileTheHintIsWritten(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	s.write(a, `{"a":1}`, `{}`)
	s.fold(a)
	before := a.generation()
	require.NotZero(t, before)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(s.target), ".a.json.guard", settledName), []byte(`{"gen`), 0o600))
	require.Equal(t, before, a.generation())
}

// A supervisor is killed while it publishes what an open scratch file holds so far: before, in and behind the one step in
// which that leaves the scratch file. A counter is added once, and so is an element to a list.
func TestKilledWhilePublishingAPart(test *testing.T) {
	for step, name := range []string{"staged", "committed", "named"} {
		test.Run(name, func(test *testing.T) {
			t := newSessionTest(test, "a.json", `{"m":{},"l":[]}`)
			o := Options{Policy: &merge.Policy{Rules: []merge.Rule{{At: "/m/*/n", Merge: merge.Sum}}}}
			s, other := t.session(o), t.session(o)
			const base, ours = `{"m":{},"l":[]}`, `{"m":{"x":{"n":1}},"l":["x"]}`
			x, f := t.create(s, ours, base)
			part, err := s.stage(x.nextPart(), Writer{PID: 1}, []byte(ours), Bases{Versions: [][]byte{[]byte(base)}}, 0, true)
			require.NoError(t, err)
			switch step {
			case 1:
				x.about.Publishes = part.n
				require.NoError(t, x.rebase([]byte(ours), nil))
			case 2:
				require.NoError(t, x.rebase([]byte(ours), part))
			}
			require.NoError(t, f.Close())
			kill(test, s)
			t.fold(other)
			require.Equal(t, ours, t.content())
			t.fold(other)
			require.Equal(t, ours, t.content())
		})
	}
}

// What a session leaves pending is believed after the machine was started again: it was synced, with its hash.
func TestWhatASessionLeavesPendingOutlivesTheBoot(t *testing.T) {
	for _, name := range []string{"a.json", "a.jsonl"} {
		st := newSessionTest(t, name, `{"n": 1}`+"\n")
		s := st.session(Options{})
		want := "{\"n\": 1}\n{\"m\": 2}\n"
		if name == "a.json" {
			want = `{"n": 2}`
		}
		x := st.write(s, want, "{\"n\": 1}\n")
		require.NoError(t, x.Finish(false))
		require.NoError(t, s.Close(false))
		g, err := Open(st.target, Options{})
		require.NoError(t, err)
		g.boot = "another"
		r, err := g.Flush(context.Background())
		require.NoError(t, err)
		require.Empty(t, r.Torn, name)
		require.NoError(t, g.Close())
		require.Equal(t, want, st.content())
	}
}

// OnlyPending is false as soon as anybody else has something that a fold would take.
func TestOnlyPending(t *testing.T) {
	st := newSessionTest(t, "a.json", `{"n": 1}`)
	a, b := st.session(Options{}), st.session(Options{})
	x := st.write(a, `{"n": 2}`, `{"n": 1}`)
	require.True(t, a.OnlyPending(x))
	y := st.write(b, `{"n": 1, "b": 1}`, `{"n": 1}`)
	require.False(t, a.OnlyPending(x))
	require.False(t, b.OnlyPending(y))
	st.fold(b)
	require.True(t, a.OnlyPending(x), "nothing is")

	x = st.write(a, `{"n": 3, "b": 1}`, `{"n": 2, "b": 1}`)
	st.write(a, `{"n": 2, "b": 2}`, `{"n": 2, "b": 1}`)
	require.False(t, a.OnlyPending(x), "another of our own")
	st.fold(a)

	x = st.write(a, `{"n": 4, "b": 2}`, `{"n": 3, "b": 2}`)
	held, err := lock.Acquire(t.Context(), st.target)
	require.NoError(t, err)
	g, err := Open(st.target, Options{Timeout: -1})
	require.NoError(t, err)
	_, err = g.Apply(context.Background(), merge.Op{Kind: merge.OpSet, At: "/c", Value: []byte("1")})
	require.ErrorIs(t, err, ErrPending)
	require.False(t, a.OnlyPending(x), "a journal")
	require.NoError(t, held.Release())
	require.NoError(t, g.Close())
	require.NoError(t, a.Close(false))
	require.NoError(t, b.Close(false))
}

// Published names the version that the target is now, byte for byte, and is silent where it was merged.
func TestPublishedVersion(t *testing.T) {
	st := newSessionTest(t, "a.json", `{"n": 1}`)
	s := st.session(Options{})
	x := st.write(s, `{"n":   2}`, `{"n": 1}`)
	r := st.fold(s)
	require.NotNil(t, r.Published)
	require.Equal(t, x.Sidecar(), r.Published.Sidecar)
	info, err := os.Stat(st.target)
	require.NoError(t, err)
	require.Equal(t, info.Size(), r.Published.Size)
	require.True(t, info.ModTime().Equal(r.Published.MTime))

	st.write(s, `{"n": 3}`, `{"n":   2}`)
	require.NoError(t, os.WriteFile(st.target, []byte(`{"n":   2, "theirs": 1}`), 0o644))
	require.Nil(t, st.fold(s).Published, "merged")
	require.NoError(t, s.Close(false))
}

// Watermarks of scratch files that are gone are forgotten many at once, because that costs a sync of each session's
// directory; but they are.
func TestWatermarksOfScratchFilesAreForgotten(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	most := 0
	for i := range forgetAtOnce + 10 {
		s.write(a, fmt.Sprintf(`{"a":%d}`, i), s.content())
		require.Equal(t, 1, s.fold(a).Folded)
		last, err := a.store.newestCommit()
		require.NoError(t, err)
		most = max(most, len(last.After))
	}
	require.Equal(t, forgetAtOnce, most)
	last, err := a.store.newestCommit()
	require.NoError(t, err)
	require.Less(t, len(last.After), 20)
}

// The disk is full when what an open scratch file is to go on from is written: what was to be published is taken back, so that
// the next try can publish it.
func TestWhatWasNotPublishedIsTakenBack(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	x, f := s.create(a, `{"a":1}`, `{}`)
	full := true
	dir, err := vfs.NewFaults(vfs.OS, func(c vfs.Call) vfs.Fault {
		if full && c.Op == "create" && strings.HasPrefix(filepath.Base(c.Path), x.n+baseSuffix) {
			return vfs.Fault{Err: syscall.ENOSPC}
		}
		return vfs.Fault{}
	}).OpenDir(a.path)
	require.NoError(t, err)
	real := a.dir
	a.dir = dir
	submit := func() error {
		_, _, err := x.Submit(context.Background(), Writer{PID: 1}, []byte(`{"a":1}`), Bases{Versions: [][]byte{[]byte(`{}`)}}, false)
		return err
	}
	before := s.scratches()
	require.ErrorIs(t, submit(), syscall.ENOSPC)
	require.Equal(t, before, s.scratches())
	full = false
	require.NoError(t, submit())
	a.dir = real
	require.NoError(t, dir.Close())
	require.NoError(t, f.Close())
	s.fold(a)
	require.JSONEq(t, `{"a":1}`, s.content())
	require.NoError(t, a.Close(false))
}
