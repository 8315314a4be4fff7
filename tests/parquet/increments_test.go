package parquet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was only added makes one more file, and the others stay the very same files.
func TestAnIncrementChangesNoOtherFile(t *testing.T) {
	l := newLab(t)
	s := state{}
	files := map[string][]byte{}
	for day := range 4 {
		for i := range 10 {
			s["gpt"] = append(s["gpt"], result{ID: fmt.Sprint(day, "-", i), N: i})
		}
		s.write(l)
		l.jsonguard("export", l.file, "--records", pattern, "--increments", "inc")
		names, err := filepath.Glob(l.path("inc/current/*.parquet"))
		require.NoError(t, err)
		require.Len(t, names, day+1)
		for _, name := range names {
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			if before, ok := files[filepath.Base(name)]; ok {
				require.Equal(t, before, content, name)
			}
			files[filepath.Base(name)] = content
		}
		require.Len(t, files, day+1, "a name was used again, or a file was written anew")
	}
	got, err := readCurrent(l.path("inc"))
	require.NoError(t, err)
	require.Equal(t, s.rows(), got)
}

// Seventeen runners append their results and export when they are done, at once: each result is in one file, and no more files are
// made than there were exports. Who waited for the export of another may find nothing left to do.
func TestEachRunnerExportsItsResults(t *testing.T) {
	const runners, results = 17, 3
	l := newLab(t)
	state{"gpt": {{ID: "first"}}}.write(l)
	var all sync.WaitGroup
	for r := range runners {
		all.Go(func() {
			for i := range results {
				if _, stderr, err := l.try("append", "--timeout", "5m", l.file, "/models/gpt/results", fmt.Sprintf(`{"id": "r%d-%d", "ok": true, "n": %d}`, r, i, i)); err != nil {
					t.Errorf("%v: %s", err, stderr)
				}
			}
			if _, stderr, err := l.try("export", "-q", "--timeout", "5m", l.file, "--records", pattern, "--increments", "inc"); err != nil {
				t.Errorf("%v: %s", err, stderr)
			}
		})
	}
	all.Wait()
	got, err := readCurrent(l.path("inc"))
	require.NoError(t, err)
	require.Len(t, got, 1+runners*results)
	for r := range runners {
		for i := range results {
			id, n := fmt.Sprintf(`"id":"r%d-%d"`, r, i), 0
			for _, line := range got {
				n += strings.Count(line, id)
			}
			require.Equal(t, 1, n, id)
		}
	}
	files, err := filepath.Glob(l.path("inc/current/*.parquet"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(files), runners)
	t.Logf("%d files of %d exports", len(files), runners)
}

// Several processes export at once while the file grows, changes and shrinks; readers list the directory meanwhile. Each listing
// is one version of the file, whole, and at the end it is the last one.
func TestManyExportAtOnceAndReadersSeeVersions(t *testing.T) {
	l := newLab(t)
	s := state{"gpt": {{ID: "first"}}}
	s.write(l)
	l.jsonguard("export", l.file, "--records", pattern, "--increments", "inc")

	var mu sync.Mutex
	valid := map[string]bool{fmt.Sprint(s.rows()): true}
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	var read, missed atomic.Int64
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				lines, err := readCurrent(l.path("inc"))
				if errors.Is(err, fs.ErrNotExist) { // a file that is in the listing and not in the next generation: loud
					missed.Add(1)
					continue
				}
				if err != nil {
					t.Errorf("a reader: %v", err)
					return
				}
				mu.Lock()
				ok := valid[fmt.Sprint(lines)]
				mu.Unlock()
				if !ok {
					t.Errorf("a reader saw what never was: %d rows", len(lines))
					return
				}
				read.Add(1)
			}
		})
	}
	for step := range 12 {
		switch step % 4 {
		case 0, 1:
			s["gpt"] = append(s["gpt"], result{ID: fmt.Sprint("new ", step), N: step})
		case 2:
			s["gpt"][0].N++
			s["falcon"] = append(s["falcon"], result{ID: "other", OK: true})
		case 3:
			s["gpt"] = s["gpt"][:len(s["gpt"])-1]
		}
		mu.Lock()
		valid[fmt.Sprint(s.rows())] = true
		mu.Unlock()
		s.write(l)
		for k := range 3 {
			writers.Go(func() {
				args := []string{"export", "-q", l.file, "--records", pattern, "--increments", "inc", "--timeout", "5m"}
				if k == 2 {
					args = append(args, "--compact")
				}
				if _, stderr, err := l.try(args...); err != nil {
					t.Errorf("%v: %s", err, stderr)
				}
			})
		}
		writers.Wait()
		got, err := readCurrent(l.path("inc"))
		require.NoError(t, err)
		require.Equal(t, s.rows(), got)
	}
	stop.Store(true)
	readers.Wait()
	t.Logf("%d listings, %d missed a file", read.Load(), missed.Load())
}
