package architecture

import (
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A public package says what it is for, and shows how it is used by examples that run.
func TestPublicPackagesAreExplained(t *testing.T) {
	for _, pkg := range []string{"lock", "merge", "atomicjson", "sidecar"} {
		names, err := filepath.Glob("../../" + pkg + "/*.go")
		require.NoError(t, err)
		comment, examples := "", 0
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			require.NoError(t, err)
			if !strings.HasSuffix(name, "_test.go") {
				comment += file.Doc.Text()
				continue
			}
			for _, e := range doc.Examples(file) {
				if e.Output != "" {
					examples++
				}
			}
		}
		require.Regexp(t, `(?s)^Package `+pkg+` .*promise`, comment)
		require.GreaterOrEqual(t, examples, 2, pkg)
	}
}
