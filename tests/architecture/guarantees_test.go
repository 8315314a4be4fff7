package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	promiseLine = regexp.MustCompile(`^## \d+\. `)
	holderLine  = regexp.MustCompile("^- `([^`]+)`: (`Test.+)$")
	quoted      = regexp.MustCompile("`([^`]+)`")
)

// Every promise of GUARANTEES.md names tests, and each of them exists.
func TestEveryPromiseIsHeldByTests(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "GUARANTEES.md"))
	require.NoError(t, err)
	promise, held := "", map[string]int{}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "## ") {
			promise = line
			if promiseLine.MatchString(line) {
				held[promise] = 0
			}
		}
		m := holderLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, name := range quoted.FindAllStringSubmatch(m[2], -1) {
			require.True(t, testExists(t, filepath.Join(root, m[1]), name[1]), "%s: %s has no test %s", promise, m[1], name[1])
			if _, promised := held[promise]; promised {
				held[promise]++
			}
		}
	}
	require.Len(t, held, 10, "promises")
	for promise, tests := range held {
		require.NotZero(t, tests, "nothing holds the promise %q", promise)
	}
}

// What the other documents say is held by a test names one that exists.
func TestTestsThatDocumentsName(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, name := range []string{"PARQUET.md", "interception.md"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", name))
		require.NoError(t, err)
		named := 0
		for _, line := range strings.Split(string(text), "\n") {
			if mutants, ok := strings.CutPrefix(line, "- mutants: "); ok {
				for _, quote := range quoted.FindAllStringSubmatch(mutants, -1) {
					require.FileExists(t, filepath.Join(root, "tests", "mutants", "testdata", quote[1]+".txtar"))
				}
			}
			m := holderLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			for _, quote := range quoted.FindAllStringSubmatch(m[2], -1) {
				require.True(t, testExists(t, filepath.Join(root, m[1]), quote[1]), "%s: %s has no test %s", name, m[1], quote[1])
				named++
			}
		}
		require.NotZero(t, named, name)
	}
}

// testExists: TestScripts/NAME is the script of that name.
func testExists(t *testing.T, dir, name string) bool {
	name, script, isScript := strings.Cut(name, "/")
	if isScript {
		if _, err := os.Stat(filepath.Join(dir, "testdata", "script", script+".txtar")); err != nil {
			return false
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		if strings.Contains(string(source), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
