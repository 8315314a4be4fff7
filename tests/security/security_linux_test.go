package security

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/merge"
	"jsonguard/sidecar"
	"jsonguard/tests/command"
)

var binary string // the command

func TestMain(m *testing.M) {
	os.Exit(command.Run(m, &binary))
}

// shared is a directory with a file whose guard directory has everything that there can be in one, and somebody's own files
// elsewhere.
type shared struct {
	*testing.T
	dir, file, guard string
	victim           string // a file
	victims          string // a directory
}

const precious = "precious"

func newShared(t *testing.T) *shared {
	s := &shared{T: t, dir: filepath.Join(t.TempDir(), "shared")}
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	s.file, s.guard = filepath.Join(s.dir, "a.json"), filepath.Join(s.dir, ".a.json.guard")
	require.NoError(t, os.WriteFile(s.file, []byte(`{"keep": 1.10, "n": 0}`+"\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "jsonguard.json"), []byte(`{"history": {"keep": 5}}`), 0o644))
	s.victims = t.TempDir()
	s.victim = filepath.Join(s.victims, "victim")
	require.NoError(t, os.WriteFile(s.victim, []byte(precious), 0o600))

	torn := `printf '{"keep": 1.10, "n": 0, "x": 1, "y": ' > "$0"`
	s.run(65, "exec", "-q", "--mode", "copy", "--file", s.file, "--", "sh", "-c", torn, "{}")
	g, err := sidecar.Open(s.file, sidecar.Options{})
	require.NoError(t, err)
	require.NoError(t, g.Journal(context.Background(), merge.Op{Kind: merge.OpIncr, At: "/n", Value: merge.Raw("1")}, merge.Op{Kind: merge.OpSet, At: "/a", Value: merge.Raw("1")}))
	h, err := sidecar.Open(s.file, sidecar.Options{})
	require.NoError(t, err)
	require.NoError(t, h.Journal(context.Background(), merge.Op{Kind: merge.OpSet, At: "/a", Value: merge.Raw("2")}, merge.Op{Kind: merge.OpAppend, At: "/keep", Value: merge.Raw("2")}))
	_, _ = g.Flush(context.Background())
	require.NoError(t, g.Close())
	_ = h.Close()
	s.run(0, "lock", s.file, "/n", "--", "true")
	// Somebody who is dead: a sidecar with a change, and a copy.
	s.kill(`echo '{"keep": 1.10, "n": 1, "copy": 1}' > "$0"; kill -9 $PPID`)
	return s
}

// kill runs a program that kills its wrapper.
func (s *shared) kill(script string) {
	cmd := exec.Command(binary, "exec", "-q", "--mode", "copy", "--file", s.file, "--", "sh", "-c", script, "{}")
	require.Error(s, cmd.Run())
}

// run runs the command, which ends, and does not take much memory. status -1: any.
func (s *shared) run(status int, args ...string) string {
	s.Helper()
	const patience, memory = 2 * time.Minute, 1 << 20 // KB
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run()
	require.NoError(s, ctx.Err(), "%q hangs: %s", args, &out)
	code := cmd.ProcessState.ExitCode()
	require.NotContains(s, []int{-1, 2}, code, "%q was killed or panicked: %s", args, &out)
	if status >= 0 {
		require.Equal(s, status, code, "%q: %s", args, &out)
	}
	require.Less(s, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss, int64(memory), "%q", args)
	require.NotContains(s, out.String(), precious, "%q", args)
	return out.String()
}

// everything is what people do with a file.
func (s *shared) everything() {
	for _, args := range [][]string{
		{"status", s.file}, {"incr", "--timeout", "1s", s.file, "/n"}, {"recover", "--timeout", "1s", "--salvage", s.file}, {"conflicts", s.file}, {"history", s.file},
		{"exec", "-q", "--timeout", "1s", "--mode", "copy", "--file", s.file, "--", "sh", "-c", `echo '{"keep": 1.10, "n": 9}' > "$0" || exit 3`, "{}"},
		{"verify", "--timeout", "1s", s.file}, {"verify", "--timeout", "1s", "--repair", s.file}, {"clean", "--timeout", "1s", s.file},
	} {
		s.run(-1, args...)
	}
}

// unharmed: the files elsewhere are what they were, and the target is a document.
func (s *shared) unharmed(what string) {
	s.Helper()
	content, err := os.ReadFile(s.victim)
	require.NoError(s, err, what)
	require.Equal(s, precious, string(content), what)
	info, err := os.Stat(s.victim)
	require.NoError(s, err, what)
	require.Equal(s, fs.FileMode(0o600), info.Mode().Perm(), what)
	entries, err := os.ReadDir(s.victims)
	require.NoError(s, err, what)
	require.Len(s, entries, 1, what)
	content, err = os.ReadFile(s.file)
	require.NoError(s, err, what)
	var doc map[string]json.RawMessage
	require.NoError(s, json.Unmarshal(content, &doc), "%s: %s", what, content)
	require.NotContains(s, string(content), precious, what)
	require.Equal(s, "1.10", string(doc["keep"]), what)
}

// places are what is in the guard directory, from it, and the lock beside the file.
func (s *shared) places() (all []string) {
	require.NoError(s, filepath.WalkDir(s.guard, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(s.dir, path)
		all = append(all, name)
		return err
	}))
	return append(all, "a.json.lock")
}

// class is a place without what is random in it.
func class(place string) string {
	parts := strings.Split(place, string(filepath.Separator))
	for i, p := range parts {
		if strings.Count(p, ".") >= 2 && i > 0 && p != ".gitignore" {
			parts[i] = "*"
			if ext := filepath.Ext(p); len(ext) < len(".0123456789") {
				parts[i] += ext
			}
		}
	}
	return filepath.Join(parts...)
}

// TestPlanted puts each kind of thing into each place, where it can be.
func TestPlanted(t *testing.T) {
	kinds := map[string]func(s *shared, place string, dir bool) error{
		"symbolic link": func(s *shared, place string, dir bool) error {
			if dir {
				return os.Symlink(s.victims, place)
			}
			return os.Symlink(s.victim, place)
		},
		"FIFO":   func(_ *shared, place string, _ bool) error { return unix.Mkfifo(place, 0o600) },
		"socket": func(s *shared, place string, _ bool) error { return plantSocket(s, place) },
		"endless file": func(_ *shared, place string, _ bool) error {
			if err := os.WriteFile(place, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(place, 1<<40)
		},
		"directory": func(_ *shared, place string, _ bool) error { return os.MkdirAll(filepath.Join(place, "inside"), 0o700) },
	}
	seen := map[string]bool{}
	tried := 0
	for _, place := range newShared(t).places() {
		if seen[class(place)] {
			continue
		}
		seen[class(place)] = true
		for kind, plant := range kinds {
			t.Run(kind+" at "+class(place), func(t *testing.T) {
				t.Parallel()
				s := newShared(t)
				for _, here := range s.places() {
					if class(here) != class(place) {
						continue
					}
					path := filepath.Join(s.dir, here)
					info, err := os.Lstat(path)
					if err != nil {
						continue // in what was taken away
					}
					require.NoError(t, os.RemoveAll(path))
					require.NoError(t, plant(s, path, info.IsDir()))
				}
				s.everything()
				s.unharmed(kind + " at " + place)
			})
			tried++
		}
	}
	t.Logf("%d places, %d things planted", len(seen), tried)
	require.Greater(t, len(seen), 15)
}

// sealed is a line of a journal or a commit record, with its checksum.
func sealed(object string) string {
	open := strings.TrimSuffix(object, "}")
	return fmt.Sprintf("%s,\"crc\":\"%08x\"}\n", open, crc32.Checksum([]byte(open), crc32.MakeTable(crc32.Castagnoli)))
}

// TestJournalsThatNameOtherFiles: the versions that a line names are files of its own view, whatever it says.
func TestJournalsThatNameOtherFiles(t *testing.T) {
	for i, name := range []string{"%s", "../../../../%s", "../../../a.json", "..", ".", "", "copy", "copy/a.json", "owner/../base", "\x00"} {
		for _, field := range []string{"ours", "base"} {
			s := newShared(t)
			name := name
			if strings.Contains(name, "%s") {
				name = fmt.Sprintf(name, s.victim)
			}
			id := fmt.Sprintf("evil.1.%016x", i)
			view := filepath.Join(s.guard, "views", id)
			require.NoError(t, os.MkdirAll(filepath.Join(view, "copy"), 0o700))
			good := map[string]string{"ours": "1.ours", "base": "base"}
			require.NoError(t, os.WriteFile(filepath.Join(view, "1.ours"), []byte(`{"keep": 1.10, "n": 5}`), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(view, "base"), []byte(`{"keep": 1.10, "n": 0}`), 0o600))
			good[field] = name
			quoted, err := json.Marshal(good)
			require.NoError(t, err)
			line := fmt.Sprintf(`{"seq":1,"monotonic":1,%s`, quoted[1:])
			require.NoError(t, os.WriteFile(filepath.Join(s.guard, "pending", id),
				[]byte(sealed(fmt.Sprintf(`{"jsonguard":1,"id":%q,"host":"other","boot":"x","pid":1,"command":"evil","since":"2020-01-01T00:00:00Z","view":true}`, id))+sealed(line)), 0o600))
			s.everything()
			s.unharmed(fmt.Sprintf("%s %q", field, name))
		}
	}
}

// TestRecordsThatNameOtherFiles: the temporary file of a commit record is one of ours beside the target, whatever it says: it
// is not read, put in the target's place, nor removed.
func TestRecordsThatNameOtherFiles(t *testing.T) {
	for _, name := range []string{"%s", "../victims/victim", "jsonguard.json", "a.json", ".", "..", "", ".a.json.guard"} {
		for _, kind := range []string{"replace", "overwrite", "append"} {
			s := newShared(t)
			s.run(0, "recover", "--timeout", "1s", s.file)
			name := name
			if strings.Contains(name, "%s") {
				name = fmt.Sprintf(name, s.victim)
			}
			quoted, err := json.Marshal(name)
			require.NoError(t, err)
			info, err := os.Stat(s.victim)
			require.NoError(t, err)
			inode := info.Sys().(*syscall.Stat_t).Ino
			record := sealed(fmt.Sprintf(`{"generation":1000,"kind":%q,"before":{},"after":{},"temp":%s,"from":{"inode":1,"size":1,"mtime":1,"hash":"0000000000000000"},"to":{"inode":%d,"size":%d,"mtime":%d,"hash":"0000000000000000"}}`,
				kind, quoted, inode, info.Size(), info.ModTime().UnixNano()))
			require.NoError(t, os.WriteFile(filepath.Join(s.guard, "commit.0"), []byte(record), 0o600))
			s.everything()
			what := fmt.Sprintf("%s record of %q", kind, name)
			s.unharmed(what)
			require.FileExists(t, filepath.Join(s.dir, "jsonguard.json"), what)
		}
	}
}

// TestPolicyPaths: the files of a policy are below it. One that reaches elsewhere is refused, and a symbolic link below it
// leads to the file that it names, which is a file that the caller named.
func TestPolicyPaths(t *testing.T) {
	for _, pattern := range []string{"/etc/*.json", "../*.json", "a/../../b.json", "~/x.json", "C:/x.json", `a\\..\\b.json`, "./a.json", "a//b.json"} {
		s := newShared(t)
		policy := fmt.Sprintf(`{"files": [%q]}`, strings.ReplaceAll(pattern, `\\`, `\`))
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "jsonguard.json"), []byte(policy), 0o644))
		if strings.HasPrefix(pattern, "~") { // a directory of that name, and nobody's home
			s.run(0, "policy", "check", filepath.Join(s.dir, "jsonguard.json"))
			continue
		}
		s.run(64, "policy", "check", filepath.Join(s.dir, "jsonguard.json"))
		s.run(64, "incr", s.file, "/n")
		s.run(125, "exec", "--mode", "copy", "--file", s.file, "--", "true", "{}")
		s.unharmed(pattern)
	}
	// Somebody else's policy, in a directory that everybody may write.
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give a file away: somebody else's policy was not tried")
	}
	s := newShared(t)
	policy := filepath.Join(s.dir, "jsonguard.json")
	require.NoError(t, os.WriteFile(policy, []byte(`{"rules": [{"at": "/n", "merge": "max"}], "torn": "additions"}`), 0o644))
	require.NoError(t, os.Chmod(s.dir, fs.ModeSticky|0o777))
	require.NoError(t, os.Chown(policy, nobody, nobody))
	require.Contains(t, s.run(0, "incr", s.file, "/n"), "not used")
	// Nor root's, or the user's own, where somebody else chose it: to it leads a symbolic link of his.
	require.NoError(t, os.Remove(policy))
	require.NoError(t, os.WriteFile(s.victim, []byte(precious), 0o600))
	require.NoError(t, os.Symlink(s.victim, policy))
	require.NoError(t, os.Lchown(policy, nobody, nobody))
	require.Contains(t, s.run(0, "incr", s.file, "/n"), "not used")
}

// TestModes: with every umask, nothing that any verb makes is open to more people than the target.
func TestModes(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	for _, perm := range []fs.FileMode{0o600, 0o640, 0o660} {
		dir := t.TempDir()
		s := &shared{T: t, dir: dir, file: filepath.Join(dir, "a.json"), guard: filepath.Join(dir, ".a.json.guard")}
		require.NoError(t, os.WriteFile(s.file, []byte(`{"n": 0}`), perm))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "jsonguard.json"), []byte(`{"history": {"keep": 5}}`), 0o600))
		s.kill(`echo '{"n": 1, "copy": 1}' > "$0"; kill -9 $PPID`)
		widest := func(when string) {
			require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				require.NoError(t, err)
				info, err := e.Info()
				require.NoError(t, err)
				wide := perm | 0o600
				if e.IsDir() {
					wide |= 0o100 | perm>>2&0o011 // who may read the files may search
				}
				if path != dir {
					require.Zero(t, info.Mode().Perm()&^wide, "%s is %v, the target %v, %s", path, info.Mode(), perm, when)
				}
				return nil
			}))
		}
		widest("a program was killed")
		s.run(0, "recover", s.file)
		s.run(0, "set", s.file, "/a", "1")
		s.run(0, "set", s.file, "/a", "2")
		widest("changes")
		s.run(65, "exec", "-q", "--mode", "copy", "--file", s.file, "--", "sh", "-c", `printf '{"n": ' > "$0"`, "{}")
		s.run(0, "lock", s.file, "/n", "--", "true")
		widest("a torn write")
		info, err := os.Stat(s.file)
		require.NoError(t, err)
		require.Equal(t, perm, info.Mode().Perm())
	}
}
