// Package architecture holds the order of the rooms: who may import whom, and what stays out of the core.
package architecture

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/tests/command"
)

// allowed lists, for each package of ours, which of ours it may import in code that is no test.
var allowed = map[string][]string{
	"jsonguard/lock":                 {},
	"jsonguard/merge":                {},
	"jsonguard/internal/vfs":         {},
	"jsonguard/internal/sigorigin":   {},
	"jsonguard/internal/intercept":   {},
	"jsonguard/internal/jq":          {"jsonguard/merge"},
	"jsonguard/internal/records":     {"jsonguard/merge"},
	"jsonguard/internal/policy":      {"jsonguard/merge", "jsonguard/internal/jq"},
	"jsonguard/internal/stats":       {"jsonguard/internal/records", "jsonguard/merge"},
	"jsonguard/sidecar":              {"jsonguard/lock", "jsonguard/merge", "jsonguard/internal/policy", "jsonguard/internal/vfs"},
	"jsonguard/atomicjson":           {"jsonguard/merge", "jsonguard/sidecar"},
	"jsonguard/internal/generations": {"jsonguard/lock", "jsonguard/internal/vfs"},
	"jsonguard/internal/table":       {},
	"jsonguard/internal/parquet":     {"jsonguard/merge", "jsonguard/internal/table"},
	"jsonguard/internal/probe":       {"jsonguard/lock", "jsonguard/internal/vfs"},
	"jsonguard/internal/session":     {"jsonguard/internal/intercept", "jsonguard/lock", "jsonguard/merge", "jsonguard/sidecar"},

	"jsonguard/internal/watch":        {"jsonguard/internal/records", "jsonguard/merge", "jsonguard/sidecar"},
	"jsonguard/internal/watch/page":   {},
	"jsonguard/internal/watch/screen": {"jsonguard/internal/watch"},
}

// outside lists what the core may use of others: a new dependency of the core is a decision, not an accident.
var outside = map[string][]string{
	"jsonguard/lock":                 {"github.com/gofrs/flock", "golang.org/x/sys"},
	"jsonguard/merge":                {},
	"jsonguard/internal/vfs":         {"golang.org/x/sys", "github.com/natefinch/atomic"},
	"jsonguard/internal/sigorigin":   {"golang.org/x/sys"},
	"jsonguard/internal/intercept":   {"golang.org/x/sys"},
	"jsonguard/internal/jq":          {"github.com/itchyny/gojq"},
	"jsonguard/internal/records":     {},
	"jsonguard/internal/policy":      {"github.com/go-json-experiment/json"},
	"jsonguard/internal/stats":       {},
	"jsonguard/sidecar":              {"golang.org/x/sys"},
	"jsonguard/atomicjson":           {},
	"jsonguard/internal/generations": {},
	"jsonguard/internal/table":       {},
	"jsonguard/internal/parquet":     {"github.com/parquet-go/parquet-go"},
	"jsonguard/internal/probe":       {"golang.org/x/sys"},
	"jsonguard/internal/session":     {"golang.org/x/sys"},

	"jsonguard/internal/watch":        {"github.com/fsnotify/fsnotify"},
	"jsonguard/internal/watch/page":   {},
	"jsonguard/internal/watch/screen": {},
}

func TestImports(t *testing.T) {
	for _, platform := range []string{"linux", "darwin", "windows"} {
		for pkg, ours := range allowed {
			for _, path := range imports(t, platform, pkg) {
				switch {
				case strings.HasPrefix(path, "jsonguard/"):
					require.Contains(t, ours, path, "%s must not import %s (%s)", pkg, path, platform)
				case strings.Contains(strings.Split(path, "/")[0], "."):
					ok := slices.ContainsFunc(outside[pkg], func(module string) bool {
						return path == module || strings.HasPrefix(path, module+"/")
					})
					require.True(t, ok, "%s must not depend on %s (%s)", pkg, path, platform)
				}
			}
		}
	}
}

// Every package of the module is named above, or is a command or a test.
func TestNoUnknownPackage(t *testing.T) {
	out, err := exec.Command("go", "list", "jsonguard/...").Output()
	require.NoError(t, err)
	for pkg := range strings.FieldsSeq(string(out)) {
		_, known := allowed[pkg]
		leaf := strings.HasPrefix(pkg, "jsonguard/cmd/") || strings.HasPrefix(pkg, "jsonguard/tests/")
		require.True(t, known || leaf, "%s: say in tests/architecture what it may import", pkg)
	}
}

// The library for Parquet weighs as much as all of jsonguard, and net/http costs every verb a quarter of its start: they are in executables
// of their own.
func TestWhatTheCommandDoesNotCarry(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "jsonguard/cmd/jsonguard").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "jsonguard/sidecar")
	require.NotContains(t, string(out), "parquet-go")
	require.NotContains(t, string(out), "blackfriday", "Markdown for manual pages takes as long to start as half a verb")
	for _, costly := range []string{"net/http", "crypto/tls", "runtime/metrics"} {
		require.NotContains(t, strings.Fields(string(out)), costly, "each start of the program pays for it (docs/adr/0029)")
	}
}

// Where text/template is executed, the linker keeps every exported method there is: each start pays for a program that is a sixth larger.
func TestTheCommandExecutesNoTemplate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jsonguard")
	require.NoError(t, command.Build(path, "jsonguard", nil))
	linked, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Contains(linked, []byte("cobra.(*Command).ExecuteC")), "the names of functions are in the program")
	require.False(t, bytes.Contains(linked, []byte("text/template.(*Template).Execute")), "cobra's Set…Template brings it (cmd/jsonguard/usage.go)")
}

// Tests that run the command as a process get it from tests/command, which knows how a mutant reaches it: built in another
// way, it would be what the mutant was made from, and the test green.
func TestTheCommandIsBuiltInOnePlace(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	require.NoError(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		if dir := filepath.Base(filepath.Dir(file)); dir != "command" && dir != "architecture" {
			require.NotContains(t, string(source), `"jsonguard/cmd/`, "%s: use tests/command", file)
		}
	}
}

func imports(t *testing.T, platform, pkg string) []string {
	cmd := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, pkg)
	cmd.Env = append(cmd.Environ(), "GOOS="+platform, "CGO_ENABLED=0")
	out, err := cmd.Output()
	require.NoError(t, err, pkg)
	return strings.Fields(string(out))
}
