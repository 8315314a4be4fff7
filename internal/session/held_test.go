//go:build linux

package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What cannot be whole is told by its ends, so that it need not be read; what may be, is never taken for a part.
func TestMayBeWhole(t *testing.T) {
	long := strings.Repeat(" ", 2000)
	for content, whole := range map[string]bool{
		"": true, " ": true, "1": true, "tru": true, `"a"`: true, long: true,
		"{}": true, "[]": true, "{}\n": true, " {\n}\n ": true, long + "{}": true, "{}" + long: true, `[{"a":1}]`: true,
		"{": false, "[": false, `{"a":[1]`: false, `[{"a":1}`: false, "[1,2\n": false, `{"a":"` + long + "x": false,
	} {
		path := filepath.Join(t.TempDir(), "a")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		f, err := os.Open(path)
		require.NoError(t, err)
		require.Equal(t, whole, mayBeWhole(f), "%.20q", content)
		require.NoError(t, f.Close())
	}
}
