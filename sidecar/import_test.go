package sidecar

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// A large target is read beside the base of a change. What comes of it is what merging the texts makes.
func TestImportIntoALargeTarget(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("{\n  \"records\": {")
	for i := range 20_000 {
		fmt.Fprintf(&b, "%s\n    \"r%07d\": {\"n\": %d, \"note\": \"%s\"}", strings.Repeat(",", min(i, 1)), i, i, strings.Repeat("lorem ", i%17))
	}
	b.WriteString("\n  }\n}\n")
	base := b.Bytes()
	require.Greater(t, len(base), 1<<20)
	edit := func(doc []byte, old, new string) []byte {
		require.Contains(t, string(doc), old)
		return bytes.Replace(doc, []byte(old), []byte(new), 1)
	}
	mine := edit(base, `"r0000011": {`, `"r0000011": {"mine": 1, `)
	for name, c := range map[string]struct{ ours, theirs []byte }{
		"nobody else wrote":         {mine, base},
		"another record":            {mine, edit(base, `"r0015000": {`, `"r0015000": {"theirs": 1, `)},
		"the same record":           {mine, edit(base, `"r0000011": {`, `"r0000011": {"theirs": 1, `)},
		"far apart":                 {mine, edit(edit(base, `"r0000003": {`, `"r0000003": {"x": 1, `), `"r0019000": {`, `"r0019000": {"x": 1, `)},
		"a new one":                 {edit(base, `    "r0000500"`, "    \"new\": [1, 2],\n    \"r0000500\""), edit(base, `    "r0000700"`, "    \"newer\": {},\n    \"r0000700\"")},
		"restyled":                  {bytes.ReplaceAll(mine, []byte("\n    "), []byte("\n\t")), edit(base, `"r0015000": {`, `"r0015000": {"theirs": "é", `)},
		"theirs is no document":     {mine, edit(base, `"r0015000": {`, `"r0015000": [`)},
		"theirs is cut":             {mine, base[:len(base)-4]},
		"theirs is something else":  {mine, []byte(strings.Repeat("[1,\n2]\n", 1<<18))},
		"theirs has more behind it": {mine, append(base[:len(base):len(base)], '1')},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.json")
			require.NoError(t, os.WriteFile(path, c.theirs, 0o644))
			want, _, wantErr := merge.Merge(base, c.ours, c.theirs, merge.JSON, nil)
			_, err := openFor(t, path).Import(t.Context(), base, c.ours)
			if wantErr != nil {
				var syntax, wantSyntax *merge.SyntaxError
				require.ErrorAs(t, err, &syntax)
				require.ErrorAs(t, wantErr, &wantSyntax)
				require.Equal(t, wantSyntax, syntax)
				want = c.theirs
			} else {
				require.NoError(t, err)
			}
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		})
	}
}

// What an import takes beside base and ours does not grow with the target.
func TestMemoryOfAnImport(t *testing.T) {
	record := func(i int) string {
		return fmt.Sprintf("\n\"r%07d\": {\"n\": %d, \"note\": \"%s\"}", i, i, strings.Repeat("lorem ", 20))
	}
	var b bytes.Buffer
	b.WriteString("{\"first\": 0")
	for i := range 50_000 {
		b.WriteString("," + record(i))
	}
	b.WriteString("}\n")
	base := b.Bytes()
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, bytes.Replace(base, []byte(`"r0000017": {`), []byte(`"r0000017": {"theirs": 1, `), 1), 0o644))
	ours := bytes.Replace(base, []byte(`"r0000011": {`), []byte(`"r0000011": {"mine": 1, `), 1)
	g := openFor(t, path)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := g.Import(t.Context(), base, ours)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Less(t, float64(after.TotalAlloc-before.TotalAlloc)/float64(len(base)), 0.8)
}
