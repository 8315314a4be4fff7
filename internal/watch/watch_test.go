package watch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/watch"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// watched is a file that is being watched.
type watched struct {
	t      *testing.T
	file   string
	states chan watch.State
	last   watch.State
}

func start(t *testing.T, content string, records string, grow ...string) *watched {
	t.Helper()
	dir := t.TempDir()
	w := &watched{t: t, file: filepath.Join(dir, "a.json"), states: make(chan watch.State, 10_000)}
	w.replace(content)
	o := watch.Options{Open: func() (*sidecar.Guard, error) { return sidecar.Open(w.file, sidecar.Options{}) }}
	add := func(text string, grow bool) {
		p, err := merge.ParsePattern(text)
		require.NoError(t, err)
		o.Patterns = append(o.Patterns, watch.Pattern{Pattern: p, Grow: grow})
	}
	if records != "" {
		add(records, false)
	}
	for _, text := range grow {
		add(text, true)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- watch.Run(ctx, o, func(s watch.State) { w.states <- s }) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	w.until("the first state", func(watch.State) bool { return true })
	return w
}

// replace publishes a version as a program does that knows how to.
func (w *watched) replace(content string) {
	w.t.Helper()
	temp := w.file + ".tmp"
	require.NoError(w.t, os.WriteFile(temp, []byte(content), 0o644))
	require.NoError(w.t, os.Rename(temp, w.file))
}

// until waits for a state; the one that is there counts.
func (w *watched) until(what string, is func(watch.State) bool) watch.State {
	w.t.Helper()
	late := time.After(time.Minute)
	for first := true; ; first = false {
		if first && !w.last.Time.IsZero() && is(w.last) {
			return w.last
		}
		select {
		case w.last = <-w.states:
			if is(w.last) {
				return w.last
			}
		case <-late:
			w.t.Fatalf("waited for %s; the last state is %+v", what, w.last)
		}
	}
}

func counted(n int64) func(watch.State) bool {
	return func(s watch.State) bool { return len(s.Counts) > 0 && s.Counts[0].N == n && s.Problem == "" }
}

func TestCountsFollowTheFile(t *testing.T) {
	w := start(t, `{"models": {"a": {"runs": [1, 2]}, "b": {"runs": []}}}`, "/models/*/runs/*", "/models/*")
	s := w.until("two records", counted(2))
	require.Equal(t, []watch.Count{{Pattern: "/models/*/runs/*", N: 2, Seen: true}, {Pattern: "/models/*", N: 2, Grow: true, Seen: true}}, s.Counts)
	require.True(t, s.Exists)
	w.replace(`{"models": {"a": {"runs": [1, 2, 3]}, "b": {"runs": [4, 5]}}}`)
	s = w.until("five records", counted(5))
	require.Equal(t, int64(3), s.Grown)
	require.GreaterOrEqual(t, s.Versions, 1)
	require.Empty(t, s.Alarms)
	require.NoError(t, os.WriteFile(w.file, []byte(`{"models": {"a": {"runs": [1]}, "b": {}}}`), 0o644)) // in place
	w.until("one record", counted(1))
}

func TestAShrinkingCountRaisesAnAlarm(t *testing.T) {
	w := start(t, `{"models": {"a": {"runs": [1, 2, 3]}, "b": {"runs": [1]}}, "n": 7}`, "", "/models/*/runs", "/n")
	w.until("the counts", counted(4))
	w.replace(`{"models": {"a": {"runs": [1]}, "b": {"runs": [1, 2]}}, "n": 8}`)
	s := w.until("an alarm", func(s watch.State) bool { return s.Shrunk > 0 })
	require.Equal(t, 1, s.Shrunk)
	require.Len(t, s.Alarms, 1)
	require.Equal(t, "/models/a/runs", s.Alarms[0].At)
	require.Equal(t, int64(3), s.Alarms[0].Before)
	require.Equal(t, int64(1), s.Alarms[0].After)
	require.False(t, s.Alarms[0].Gone)

	w.replace(`{"models": {"a": {"runs": [1, 2]}}, "n": 5.5}`)
	s = w.until("two more", func(s watch.State) bool { return s.Shrunk == 3 })
	require.Equal(t, "/models/b/runs", s.Alarms[1].At)
	require.True(t, s.Alarms[1].Gone)
	require.Equal(t, []any{"/n", int64(8), int64(5)}, []any{s.Alarms[2].At, s.Alarms[2].Before, s.Alarms[2].After})
}

// What cannot be parsed for a moment, or is not there, is no shrinking; what comes back smaller is.
func TestMomentsWithoutAVersion(t *testing.T) {
	w := start(t, `{"runs": [1, 2, 3]}`, "", "/runs")
	w.until("three", counted(3))
	w.replace(`{"runs": [1, 2`)
	s := w.until("a problem", func(s watch.State) bool { return s.Problem != "" })
	require.Contains(t, s.Problem, "line 1, column 15")
	require.Equal(t, int64(3), s.Counts[0].N, "the last good version's")
	require.NoError(t, os.Remove(w.file))
	s = w.until("no file", func(s watch.State) bool { return !s.Exists })
	require.Equal(t, "the file is not there", s.Problem)
	w.replace(`{"runs": [1, 2, 3, 4]}`)
	s = w.until("four", counted(4))
	require.Zero(t, s.Shrunk)
	require.NoError(t, os.Remove(w.file))
	w.until("no file", func(s watch.State) bool { return !s.Exists })
	w.replace(`{"runs": [1, 2]}`)
	s = w.until("two", counted(2))
	require.Equal(t, 1, s.Shrunk)
}

// A program that writes in place empties the file first: for a moment that is no loss. What stays empty is one.
func TestAnEmptyMoment(t *testing.T) {
	for _, c := range []struct {
		patience time.Duration
		filled   bool
	}{{time.Hour, true}, {time.Second, false}} {
		t.Run(fmt.Sprintf("filled again %t", c.filled), func(t *testing.T) {
			watch.EmptyFor(t, c.patience)
			w := start(t, `{"runs": [1, 2, 3]}`, "", "/runs")
			w.until("three", counted(3))
			require.NoError(t, os.Truncate(w.file, 0))
			s := w.until("nothing", func(s watch.State) bool { return s.Problem != "" || s.Shrunk > 0 })
			require.ErrorIs(t, s.Err, watch.ErrEmpty)
			require.Equal(t, int64(3), s.Counts[0].N, "the last good version's")
			require.Zero(t, s.Shrunk)
			if c.filled {
				require.NoError(t, os.WriteFile(w.file, []byte(`{"runs": [1, 2, 4, 5]}`), 0o644))
				require.Zero(t, w.until("four", counted(4)).Shrunk)
				return
			}
			s = w.until("an alarm", func(s watch.State) bool { return s.Shrunk > 0 })
			require.True(t, s.Alarms[0].Gone)
			require.Empty(t, s.Problem)
		})
	}
}

// A pattern that has matched something once is no misspelled one.
func TestWhatAPatternHasSeen(t *testing.T) {
	w := start(t, `{"runs": {"a": 1}}`, "/run/*", "/runs/*")
	s := w.until("one", func(s watch.State) bool { return len(s.Counts) == 2 && s.Counts[1].N == 1 })
	require.Equal(t, []bool{false, true}, []bool{s.Counts[0].Seen, s.Counts[1].Seen})
	w.replace(`{"runs": {}}`)
	s = w.until("none", func(s watch.State) bool { return s.Shrunk == 1 })
	require.Equal(t, []bool{false, true}, []bool{s.Counts[0].Seen, s.Counts[1].Seen})
}

// The directory itself may be removed and made again.
func TestADirectoryThatIsMadeAgain(t *testing.T) {
	w := start(t, `[1]`, "/*")
	w.until("one", counted(1))
	dir := filepath.Dir(w.file)
	require.NoError(t, os.Rename(dir, dir+".away"))
	t.Cleanup(func() { _ = os.RemoveAll(dir + ".away") })
	w.until("no file", func(s watch.State) bool { return !s.Exists })
	require.NoError(t, os.Mkdir(dir, 0o755))
	w.replace(`[1, 2]`)
	w.until("two", counted(2))
	w.replace(`[1, 2, 3]`)
	w.until("three", counted(3))
}

func TestWritersAndPending(t *testing.T) {
	w := start(t, `{"n": 0}`, "", "/n")
	g, err := sidecar.Open(w.file, sidecar.Options{})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, g.Journal(context.Background(), merge.Op{Kind: merge.OpIncr, At: "/n", Value: merge.Raw("1")}))
	}
	s := w.until("a live writer, and its changes", func(s watch.State) bool {
		return s.Live == 1 && s.Counts[0].N == 3 && s.Pending == 0
	})
	require.Equal(t, os.Getpid(), s.Writers[0].PID)
	require.NotZero(t, s.Generation)
	require.NoError(t, g.Close())
	s = w.until("nobody", func(s watch.State) bool { return s.Live == 0 })
	require.Zero(t, s.Dead)
}

// Without a pattern the size is what is followed.
func TestWithoutAPattern(t *testing.T) {
	w := start(t, `[1]`, "")
	w.replace(`[1, 2]`)
	s := w.until("six bytes", func(s watch.State) bool { return s.Size == 6 })
	require.Empty(t, s.Counts)
	require.Equal(t, int64(6), s.History.Steps[len(s.History.Steps)-1].Size)
	w.replace(`[1, 2`)
	w.until("a problem", func(s watch.State) bool { return s.Problem != "" })
}

func TestAFileThatCannotBeOpened(t *testing.T) {
	err := watch.Run(context.Background(), watch.Options{Open: func() (*sidecar.Guard, error) { return nil, fmt.Errorf("no") }}, nil)
	require.EqualError(t, err, "no")
}
