package sidecar

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program pauses while it writes lines anew: that nothing is to be taken of what is there so far is seen without having it in memory.
func TestABegunVersionThatAddsNothing(t *testing.T) {
	base := linesUpTo(3 * Large)
	changed := replacedIn(base, recordLine(5000), "{\"id\": 5000, \"score\": -1, \"note\": \"lorem ipsum 2\"}\n", recordLine(9000), "")
	upTo := func(text []byte, i int) []byte { return text[:bytes.Index(text, []byte(recordLine(i)))] }
	s := newSessionTest(t, "a.jsonl", string(base))
	a := s.session(Options{})
	x, f, err := a.Create(Writer{}, os.O_WRONLY, 0o644, nil, Bases{Versions: [][]byte{base}}, 0)
	require.NoError(t, err)
	defer x.Discard()
	defer f.Close()
	for name, c := range map[string]struct {
		version []byte
		nothing bool
	}{
		"the beginning":                    {upTo(base, 40000), true},
		"a line changed, and one left out": {upTo(changed, 40000), true},
		"little":                           {upTo(changed, 6000), true},
		"all of it":                        {changed, true},
		"a line put in":                    {replacedIn(upTo(changed, 40000), recordLine(7000), recordLine(7000)+"{\"id\": -1}\n"), false},
		"a line put in at its end":         {append(bytes.Clone(upTo(changed, 40000)), "{\"id\": -1}\n"...), false},
		"a part of a line at its end":      {upTo(changed, 40000)[:2*Large], false},
		"a line that is none":              {replacedIn(upTo(changed, 40000), recordLine(7000), "{\n"), false},
		"other lines":                      {bytes.ReplaceAll(upTo(base, 40000), []byte("lorem"), []byte("ipsum")), false},
	} {
		t.Run(name, func(t *testing.T) {
			version, of := openText(t, c.version), openText(t, base)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			require.Equal(t, c.nothing, x.AddsNothing(io.NewSectionReader(version, 0, int64(len(c.version))), io.NewSectionReader(of, 0, int64(len(base)))))
			runtime.ReadMemStats(&after)
			if c.nothing {
				require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*len(base)), "all that was ever allocated")
				added, err := a.added(c.version, base)
				require.NoError(t, err)
				require.True(t, string(added) == string(base))
			}
		})
	}
}
