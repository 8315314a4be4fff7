package sidecar

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
)

// A program appends a line and has it synced, again and again: each is taken out at once, and nobody syncs what it is taken into. A
// power cut takes that, and not what is known of it: the lines are where the program wrote them, and are folded from there, once.
func TestLinesWhosePartAPowerCutTook(test *testing.T) {
	remove := func(path string) { _ = os.Remove(path) }
	fates := map[string]func(t *sessionTest, part string){
		"is gone":    func(t *sessionTest, part string) { remove(part + scratchSuffix); remove(part + aboutSuffix) },
		"has no end": func(t *sessionTest, part string) { require.NoError(t, os.Truncate(part+scratchSuffix, 0)) },
		"is zeros": func(t *sessionTest, part string) {
			zeros := make([]byte, len(must(os.ReadFile(part+scratchSuffix))))
			require.NoError(t, os.WriteFile(part+scratchSuffix, zeros, 0o600))
		},
		"ends early":  func(t *sessionTest, part string) { cutOff(t, part+scratchSuffix, 2) },
		"is nameless": func(t *sessionTest, part string) { remove(part + aboutSuffix) },
		"has lost its hash": func(t *sessionTest, part string) { // what was known of it before
			dir := must(vfs.OS.OpenDir(filepath.Dir(part)))
			defer dir.Close()
			a := must(readAbout(dir, filepath.Base(part)))
			a.Hash = ""
			require.NoError(t, os.WriteFile(part+aboutSuffix, sealed(must(json.Marshal(a))), 0o600))
		},
		"is intact": func(*sessionTest, string) {},
	}
	for _, lost := range []string{"1", "2", "123"} {
		for fate, falls := range fates {
			for _, own := range []string{"whole", "lost too", "torn at its end"} {
				test.Run("part "+lost+" "+fate+", its lines "+own, func(test *testing.T) {
					t := newSessionTest(test, "a.jsonl", "1\n")
					s, other := t.session(Options{}), t.session(Options{})
					other.g.boot, other.reader.boot = "the next", "the next"
					x, f := t.createAppended(s, "1\n", "2\n3\n")
					var parts []string
					for _, lines := range []string{"2\n3\n", "4\n5\n", "6\n"} {
						if lines[0] != '2' {
							_, err := f.WriteString(lines)
							require.NoError(t, err)
						}
						parts = append(parts, filepath.Join(s.path, x.nextPart()))
						require.NoError(t, x.Appended(t.Context(), Writer{}, []byte(lines)))
						if lines[0] == '2' && lost[0] != '1' {
							require.Equal(t, 1, t.fold(other).Folded) // this one is in the target
						}
					}
					_, err := f.WriteString("7\n")
					require.NoError(t, err)
					for i, part := range parts { // the power fails
						if strings.Contains(lost, string(rune('1'+i))) {
							falls(t, part)
						}
					}
					whole := filepath.Join(s.path, x.n+scratchSuffix)
					switch own {
					case "lost too":
						content := must(os.ReadFile(whole))
						require.NoError(t, os.WriteFile(whole, bytes.ReplaceAll(content, []byte("4\n5\n"), make([]byte, 4)), 0o600))
					case "torn at its end":
						cutOff(t, whole, 1)
					}
					require.NoError(t, f.Close())
					kill(test, s)
					torn := len(t.fold(other).Torn)
					require.Zero(t, t.fold(other).Folded, "the second one finds nothing")
					for range 2 {
						_, err := os.Stat(s.path)
						require.ErrorIs(t, err, os.ErrNotExist)
						t.fold(other)
					}
					everything := "1\n2\n3\n4\n5\n6\n7\n"
					if own == "whole" {
						require.Zero(t, torn)
						require.Equal(t, everything, t.content())
						return
					}
					g, err := Open(t.target, Options{})
					require.NoError(t, err)
					defer g.Close()
					_, _, err = g.Recover(t.Context(), true)
					require.NoError(t, err)
					_, _, err = g.Recover(t.Context(), true)
					require.NoError(t, err)
					kept := t.content()
					for name := range t.quarantined() {
						kept += t.quarantined()[name]
					}
					for _, line := range strings.Fields(everything) {
						require.LessOrEqual(t, strings.Count(t.content(), line), 1, t.content())
						if own == "lost too" && strings.ContainsAny(line, "45") && strings.Contains(lost, "2") && fate != "is intact" && fate != "is nameless" {
							continue // nowhere at all, or in part
						}
						require.Contains(t, kept, line)
					}
				})
			}
		}
	}
}

func cutOff(t *sessionTest, path string, n int64) {
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, max(0, info.Size()-n)))
}

// quarantined is what is in quarantine, by name.
func (t *sessionTest) quarantined() map[string]string {
	all := map[string]string{}
	for _, path := range must(filepath.Glob(filepath.Join(filepath.Dir(t.target), ".*.guard", quarantineName, "*"))) {
		all[filepath.Base(path)] = string(must(os.ReadFile(path)))
	}
	return all
}
