//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pendingSidecar leaves the sidecar of a dead process with two changes (/a: 1, /b: 2) beside a new file.
func pendingSidecar(t *testing.T) (file, sidecar string) {
	file = filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{\"n\": 0}\n"), 0o644))
	release := holdLock(t, file)
	cmd := jsonguard(t, "batch", "--timeout", "100ms", file)
	cmd.Stdin = strings.NewReader(`{"op":"set","at":"/a","value":1,"ack":"journaled"}` + "\n" + `{"op":"set","at":"/b","value":2,"ack":"journaled"}` + "\n")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, errs.String())
	require.Equal(t, 2, strings.Count(string(out), `"ok":true`))
	require.Contains(t, errs.String(), "come in with the next use")
	release()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".a.json.guard", "pending", "*"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	content, err := os.ReadFile(found[0])
	require.NoError(t, err)
	require.NoError(t, os.Truncate(found[0], int64(len(bytes.TrimRight(content, "\x00"))))) // without the room for more lines
	return file, found[0]
}

// reseal changes the lines of a sidecar and gives each its checksum again.
func reseal(t *testing.T, sidecar string, edit func(number int, object map[string]any)) {
	content, err := os.ReadFile(sidecar)
	require.NoError(t, err)
	var out []byte
	for i, line := range strings.Split(strings.TrimSuffix(string(content), "\n"), "\n") {
		var object map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		require.NoError(t, d.Decode(&object))
		delete(object, "crc")
		edit(i, object)
		text, err := json.Marshal(object)
		require.NoError(t, err)
		text = text[:len(text)-1]
		out = fmt.Appendf(out, "%s,\"crc\":\"%08x\"}\n", text, crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
	}
	require.NoError(t, os.WriteFile(sidecar, out, 0o600))
}

func TestSidecars(t *testing.T) {
	t.Parallel()
	edit := func(change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, sidecar string) {
			content, err := os.ReadFile(sidecar)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(sidecar, change(content), 0o600))
		}
	}
	for _, c := range []struct {
		name    string
		spoil   func(t *testing.T, sidecar string)
		want    string // the file after the next change
		damaged bool   // verify says so, and --repair moves it away
	}{
		{"as it was left", func(*testing.T, string) {}, `{"n": 1, "a": 1, "b": 2}`, false},
		{"a torn last line: it was never acknowledged", edit(func(b []byte) []byte { return b[:len(b)-7] }), `{"n": 1, "a": 1}`, false},
		{"a torn header", edit(func(b []byte) []byte { return b[:20] }), `{"n": 1}`, false},
		{"empty", edit(func(b []byte) []byte { return nil }), `{"n": 1}`, false},
		// It cannot be told from one that a power cut tore across sectors before it was acknowledged.
		{"a bit flipped in the last change", edit(func(b []byte) []byte { b[len(b)-40] ^= 4; return b }), `{"n": 1, "a": 1}`, false},
		{"a bit flipped in the first change", edit(func(b []byte) []byte { b[bytes.IndexByte(b, '\n')+12] ^= 1; return b }), `{"n": 1}`, true},
		{"a bit flipped in the header", edit(func(b []byte) []byte { b[12] ^= 1; return b }), `{"n": 1}`, true},
		{"something else altogether", edit(func([]byte) []byte { return []byte("to do: buy milk\n{}\n") }), `{"n": 1}`, true},
		{"of a version that is newer than we are", func(t *testing.T, sidecar string) {
			reseal(t, sidecar, func(n int, o map[string]any) {
				if n == 0 {
					o["jsonguard"] = 99
				}
			})
		}, `{"n": 1}`, true},
		{"of another host and boot", func(t *testing.T, sidecar string) {
			reseal(t, sidecar, func(n int, o map[string]any) {
				if n == 0 {
					o["host"], o["boot"] = "elsewhere", "00000000-0000-4000-8000-000000000000"
				}
			})
		}, `{"n": 1, "a": 1, "b": 2}`, false},
		{"its pid is another process now", func(t *testing.T, sidecar string) {
			reseal(t, sidecar, func(n int, o map[string]any) {
				if n == 0 {
					o["pid"] = os.Getpid()
				}
			})
		}, `{"n": 1, "a": 1, "b": 2}`, false},
		{"the clock jumped: it comes from the future", func(t *testing.T, sidecar string) {
			reseal(t, sidecar, func(n int, o map[string]any) {
				if n == 0 {
					o["since"] = time.Now().AddDate(100, 0, 0).Format(time.RFC3339Nano)
				} else {
					o["monotonic"] = json.Number("9000000000000000000")
				}
			})
			require.NoError(t, os.Chtimes(sidecar, time.Now().AddDate(50, 0, 0), time.Now().AddDate(50, 0, 0)))
		}, `{"n": 1, "a": 1, "b": 2}`, false},
		{"the clock jumped: it comes from 1970", func(t *testing.T, sidecar string) {
			reseal(t, sidecar, func(n int, o map[string]any) {
				if n == 0 {
					o["since"] = "1970-01-01T00:00:00Z"
				} else {
					o["monotonic"] = 0
				}
			})
			require.NoError(t, os.Chtimes(sidecar, time.Unix(0, 0), time.Unix(0, 0)))
		}, `{"n": 1, "a": 1, "b": 2}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, sidecar := pendingSidecar(t)
			c.spoil(t, sidecar)
			spoilt, err := os.ReadFile(sidecar)
			require.NoError(t, err)

			status, stdout, stderr := process(t, "verify", file)
			if c.damaged {
				require.Equal(t, statusIO, status, stdout+stderr)
				require.Regexp(t, `(?m)^bad +sidecar +.*`+regexp.QuoteMeta(filepath.Base(sidecar)), stdout)
			} else {
				require.Zero(t, status, stdout+stderr)
			}
			status, stdout, stderr = process(t, "status", "--json", file)
			require.Zero(t, status, stderr)
			var st struct{ Sidecars []struct{ Live bool } }
			require.NoError(t, json.Unmarshal([]byte(stdout), &st))
			require.Len(t, st.Sidecars, 1)
			require.False(t, st.Sidecars[0].Live, "a held lock is what makes one live")

			// The next change goes through, whatever lies there.
			status, stdout, stderr = process(t, "incr", file, "/n")
			require.Zero(t, status, stderr)
			require.Equal(t, "1\n", stdout)
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			require.JSONEq(t, c.want, string(content))
			if !c.damaged {
				require.NoFileExists(t, sidecar)
				return
			}
			require.Contains(t, stderr, filepath.Base(sidecar), "it is said")
			requireBytes(t, sidecar, string(spoilt))
			status, stdout, stderr = process(t, "verify", "--repair", file)
			require.Zero(t, status, stdout+stderr)
			require.Contains(t, stdout, "repaired")
			require.NoFileExists(t, sidecar)
			requireBytes(t, filepath.Join(filepath.Dir(filepath.Dir(sidecar)), "quarantine", filepath.Base(sidecar)+".damaged"), string(spoilt))
			status, _, stderr = process(t, "incr", file, "/n")
			require.Zero(t, status)
			require.Empty(t, stderr)
			content, err = os.ReadFile(file)
			require.NoError(t, err)
			require.JSONEq(t, strings.Replace(c.want, `"n": 1`, `"n": 2`, 1), string(content), "nothing is applied twice")
		})
	}
}

// A sidecar of somebody who may not write the file is not folded for him.
func TestSidecarOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
	file, sidecar := pendingSidecar(t)
	require.NoError(t, os.Chown(sidecar, nobody, nobody))
	status, _, stderr := process(t, "incr", file, "/n")
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, fmt.Sprint("belongs to user ", nobody))
	requireBytes(t, file, "{\"n\": 1}\n")
	require.NoError(t, os.Chmod(file, 0o666))
	status, _, stderr = process(t, "recover", file)
	require.Zero(t, status, stderr)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.JSONEq(t, `{"n": 1, "a": 1, "b": 2}`, string(content))
}

// A guard directory whose record is damaged is not guessed about: nothing is changed, and verify shows it.
func TestDamagedCommitRecord(t *testing.T) {
	t.Parallel()
	file, sidecar := pendingSidecar(t)
	guard := filepath.Dir(filepath.Dir(sidecar))
	for _, name := range []string{"commit.0", "commit.1"} {
		require.NoError(t, os.WriteFile(filepath.Join(guard, name), []byte("rubbish\n"), 0o644))
	}
	for _, args := range [][]string{{"incr", file, "/n"}, {"set", file, "/x", "1"}, {"recover", file}, {"clean", file}, {"update", file, ".x = 1"}} {
		status, stdout, stderr := process(t, args...)
		require.Equal(t, statusIO, status, "%q: %s", args, stderr)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "damaged")
		require.Contains(t, stderr, "hint: ")
		requireBytes(t, file, "{\"n\": 0}\n")
		require.FileExists(t, sidecar)
	}
	status, stdout, _ := process(t, "get", file, "/n")
	require.Zero(t, status, "reading still works")
	require.Equal(t, "0\n", stdout)
	status, stdout, _ = process(t, "verify", file)
	require.Equal(t, statusIO, status)
	require.Regexp(t, `(?m)^bad +commit`, stdout)
	status, _, stderr := process(t, "status", file)
	require.Equal(t, statusIO, status)
	require.Contains(t, stderr, "damaged")
}
