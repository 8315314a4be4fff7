package screen_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/internal/watch"
	"jsonguard/internal/watch/screen"
	"jsonguard/sidecar"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)

func state() watch.State {
	h := &watch.History{Began: noon.Add(-2 * time.Minute), Step: time.Second}
	for i := range int64(120) {
		n := i * 10
		if i >= 80 {
			n = i * 7
		}
		h.Steps = append(h.Steps, watch.Step{Count: n, Versions: int(i % 9), Size: 1000 * i})
	}
	h.Last = 833
	return watch.State{
		Time: noon, File: "/data/runs/results.json", Exists: true, Size: 1_234_567, Versions: 10_412, PerSecond: 61.2, Generation: 1042,
		Counts: []watch.Count{{Pattern: "/models/*/results/*", N: 833}, {Pattern: "/models/*/results", N: 833, Grow: true}}, Grown: 793,
		Live: 2, Dead: 1, Pending: 3, Conflicts: 1,
		Writers: []sidecar.Owner{
			{Host: "host", PID: 4711, Live: true, Since: noon.Add(-time.Minute), Command: "python3 runner.py --model gpt-4o", Pending: 3},
			{Host: "host", PID: 4712, Live: true, Since: noon.Add(-time.Hour), Command: "evil \x1b[2J\u009b name"},
			{ID: "host.9.abc"},
		},
		Alarms:  []watch.Alarm{{Time: noon.Add(-40 * time.Second), At: "/models/gpt/results", Before: 89, After: 36}, {Time: noon, At: "/models/x", Before: 4, Gone: true}},
		Shrunk:  2,
		History: h,
	}
}

func TestFrame(t *testing.T) {
	frame := screen.Frame(state(), screen.Options{Width: 100, Height: 34, Now: noon, Footer: " Ctrl-C ends it"})
	for _, want := range []string{
		" ● results.json ", "watched for 2m00s", "/data/runs/results.json",
		"12:00:00  /models/x IS GONE: it had 4", "11:59:20  /models/gpt/results SHRANK from 89 to 36: 53 lost",
		"833 +793", "1.2 MB", "61 of 10,412",
		"host@4711", "3 pending  python3 runner.py --model gpt-4o", "✗ host.9.abc", "2 live, 1 dead", "generation 1042", "Ctrl-C ends it",
		"11:58:00", "█", "┤", "└──",
	} {
		require.Contains(t, frame, want)
	}
	require.NotContains(t, frame, "\x1b", "nothing of the file is obeyed, and there is no colour")
	require.NotContains(t, frame, "\u009b")
	require.Less(t, strings.Index(frame, "IS GONE"), strings.Index(frame, "833"), "what is loud is above")

	coloured := screen.Frame(state(), screen.Options{Width: 100, Height: 34, Now: noon, Colour: true})
	require.Contains(t, coloured, "\x1b[1;97;41m 12:00:00  /models/x IS GONE")
	require.Equal(t, strings.TrimRight(frame[:strings.LastIndex(frame, "\n")], " "), strings.TrimRight(sgr.ReplaceAllString(coloured[:strings.LastIndex(coloured, "\n")], ""), " "))
}

var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// Whatever there is to show, a frame stays within the window, or within the least one.
func TestFrameFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := state()
		s.History = &watch.History{Began: noon.Add(-time.Duration(rapid.IntRange(0, 100_000).Draw(t, "seconds")) * time.Second), Step: time.Second}
		for range rapid.IntRange(1, 240).Draw(t, "steps") {
			s.History.Steps = append(s.History.Steps, watch.Step{Count: rapid.Int64Range(-5, 1<<40).Draw(t, "count"), Versions: rapid.IntRange(0, 9).Draw(t, "versions")})
		}
		for len(s.Writers) < rapid.IntRange(0, 60).Draw(t, "writers") {
			s.Writers = append(s.Writers, s.Writers[0])
		}
		s.Alarms = s.Alarms[:rapid.IntRange(0, 2).Draw(t, "alarms")]
		s.Shrunk = len(s.Alarms)
		width, height := rapid.IntRange(1, 220).Draw(t, "width"), rapid.IntRange(1, 80).Draw(t, "height")
		lines := strings.Split(sgr.ReplaceAllString(screen.Frame(s, screen.Options{Width: width, Height: height, Now: noon, Colour: true, Footer: "x"}), ""), "\n")
		require.LessOrEqual(t, len(lines), height)
		for _, line := range lines {
			require.LessOrEqual(t, utf8.RuneCountInString(line), max(40, width))
		}
	})
}

func TestTheEmptyState(t *testing.T) {
	frame := screen.Frame(watch.State{File: "a.json", Problem: "the file is not there", Time: noon}, screen.Options{Width: 60, Height: 20, Now: noon})
	require.Contains(t, frame, "the file is not there")
	require.Contains(t, frame, "0 live")
}

func TestLine(t *testing.T) {
	require.Equal(t, "12:00:00  833 (+793) /models/*/results/*  833 in /models/*/results  1.2 MB  10412 versions (61.2/s)  2 live  1 dead  3 pending  1 conflict", screen.Line(state()))
}

func TestWords(t *testing.T) {
	require.Equal(t, []string{"0", "999", "1,000", "-1,234,567"}, []string{screen.Number(0), screen.Number(999), screen.Number(1000), screen.Number(-1234567)})
	require.Equal(t, []string{"999 B", "1.0 kB", "2.5 MB", "3.00 GB"}, []string{screen.Bytes(999), screen.Bytes(1000), screen.Bytes(2_500_000), screen.Bytes(3_000_000_000)})
	require.Equal(t, []string{"0s", "59s", "1m00s", "2h05m", "3d"}, []string{screen.Ago(-1), screen.Ago(59 * time.Second), screen.Ago(time.Minute), screen.Ago(125 * time.Minute), screen.Ago(77 * time.Hour)})
}
