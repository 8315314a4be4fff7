//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTwelveCopiesAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{\n  \"rate\": 1.10\n}\n"), 0o644))
	const runs = 12
	var all sync.WaitGroup
	for i := range runs {
		all.Go(func() {
			script := fmt.Sprintf(`sed -i 's/{/{"k%d": %d,/' "$0"`, i, i)
			out, err := jsonguard(t, "exec", "-q", "--file", file, "--", "sh", "-c", script, "{}").CombinedOutput()
			if err != nil {
				t.Errorf("run %d: %v: %s", i, err, out)
			}
		})
	}
	all.Wait()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var doc map[string]json.Number
	require.NoError(t, json.Unmarshal(content, &doc), "%s", content)
	for i := range runs {
		require.Equal(t, json.Number(fmt.Sprint(i)), doc[fmt.Sprintf("k%d", i)], "%s", content)
	}
	require.Contains(t, string(content), `"rate": 1.10`)
}

func requireContent(t *testing.T, file, want string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, want, string(content))
}

// holdLock takes the lock as another program would, in a process of its own: what this one held, its children inherit.
func holdLock(t *testing.T, file string) (release func()) {
	holder := jsonguard(t, "lock", file, "--", "cat")
	in, err := holder.StdinPipe()
	require.NoError(t, err)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	_, err = in.Write([]byte("x"))
	require.NoError(t, err)
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	return func() {
		require.NoError(t, in.Close())
		require.NoError(t, holder.Wait())
	}
}

// waitUntil polls; tests run on machines that are busy with others.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(end), what)
	}
}
