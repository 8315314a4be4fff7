package sidecar

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is known of a scratch file is replaced, and not synced, when a part is taken out of it. A power cut may bring back what
// was known before, when the part is in the target for good, or is still to be folded.
func TestAPowerCutBringsBackWhatWasKnownBeforeAPartWasTaken(test *testing.T) {
	for _, folded := range []bool{true, false} {
		for _, kind := range []string{"lines", "rewrite", "document"} {
			name := kind + ", part pending"
			if folded {
				name = kind + ", part folded"
			}
			test.Run(name, func(test *testing.T) {
				target, before, after := "a.jsonl", "1\n", "1\n2\n"
				if kind == "document" {
					target, before, after = "a.json", `{"l":[]}`, `{"l":[2]}`
				}
				t := newSessionTest(test, target, before)
				s, other := t.session(Options{}), t.session(Options{})
				other.g.boot, other.reader.boot = "the next", "the next"
				var x *Scratch
				var f *os.File
				if kind == "lines" {
					x, f = t.createAppended(s, "1\n", "2\n")
				} else {
					x, f = t.create(s, after, before)
				}
				kept := map[string][]byte{}
				for _, name := range append(x.about.Bases, x.n+aboutSuffix) {
					kept[name] = must(os.ReadFile(s.path + "/" + name))
				}
				if kind == "lines" {
					require.NoError(t, x.Appended(context.Background(), Writer{}, []byte("2\n")))
				} else {
					_, _, err := x.Submit(context.Background(), Writer{}, []byte(after), Bases{Versions: [][]byte{[]byte(before)}}, true)
					require.NoError(t, err)
				}
				if folded {
					require.Equal(t, 1, t.fold(other).Folded)
				}
				for name, content := range kept {
					require.NoError(t, os.WriteFile(s.path+"/"+name, content, 0o600))
				}
				require.NoError(t, f.Close())
				kill(test, s)
				for range 3 { // the last ones have forgotten the part
					t.fold(other)
				}
				require.Equal(t, after, t.content())
			})
		}
	}
}

// A power cut may leave a part that was just given its name both names: it is one change.
func TestAPartWithBothNamesIsFoldedOnce(test *testing.T) {
	t := newSessionTest(test, "a.jsonl", "1\n")
	s, other := t.session(Options{}), t.session(Options{})
	x, f := t.createAppended(s, "1\n", "2\n")
	part := x.nextPart()
	require.NoError(t, x.Appended(context.Background(), Writer{}, []byte("2\n")))
	require.NoError(t, os.Link(s.path+"/"+part+scratchSuffix, s.path+"/"+part+unbornSuffix))
	require.NoError(t, f.Close())
	kill(test, s)
	t.fold(other)
	t.fold(other)
	require.Equal(t, "1\n2\n", t.content())
}
