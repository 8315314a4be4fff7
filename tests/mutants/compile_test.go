package mutants

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMutantsCompile asks the type checker about each of them: a mutant that does not compile proves nothing, and one whose text
// is still found may have been left by a change elsewhere.
func TestMutantsCompile(t *testing.T) {
	root := moduleRoot(t)
	module := listed(t)
	paths, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		m := read(t, path)
		t.Run(m.name, func(t *testing.T) {
			pkg, here := module.of(root, m.file)
			if !here {
				require.NotEqual(t, "linux", runtime.GOOS, "no package has %s", m.file)
				t.Skipf("SKIPPED: %s is not compiled for %s", m.file, runtime.GOOS)
			}
			src, err := os.ReadFile(filepath.Join(root, m.file))
			require.NoError(t, err)
			require.NoError(t, module.check(pkg, filepath.Base(m.file), []byte(m.mutate(string(src)))))
		})
	}
}

// module is what go list says of its packages and all that they import.
type module struct {
	exports map[string]string // import path: compiled types
	ours    []goPackage
	fset    *token.FileSet
	parsed  map[string]*ast.File
	types   types.Importer
}

type goPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Module                  *struct{ Main bool }
}

func listed(t *testing.T) *module {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Module", "jsonguard/...").Output()
	require.NoError(t, err)
	m := &module{exports: map[string]string{}, fset: token.NewFileSet(), parsed: map[string]*ast.File{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		m.exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			m.ours = append(m.ours, p)
		}
	}
	m.types = importer.ForCompiler(m.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(m.exports[path]) })
	return m
}

func (m *module) of(root, file string) (goPackage, bool) {
	dir := filepath.Join(root, filepath.Dir(file))
	i := slices.IndexFunc(m.ours, func(p goPackage) bool { return p.Dir == dir && slices.Contains(p.GoFiles, filepath.Base(file)) })
	if i < 0 {
		return goPackage{}, false
	}
	return m.ours[i], true
}

// check is what the compiler has to say of a package in which one file is another.
func (m *module) check(p goPackage, mutated string, src []byte) error {
	files := make([]*ast.File, 0, len(p.GoFiles))
	for _, name := range p.GoFiles {
		path := filepath.Join(p.Dir, name)
		if name == mutated {
			file, err := parser.ParseFile(m.fset, path+" (mutant)", src, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files = append(files, file)
			continue
		}
		if m.parsed[path] == nil {
			file, err := parser.ParseFile(m.fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			m.parsed[path] = file
		}
		files = append(files, m.parsed[path])
	}
	_, err := (&types.Config{Importer: m.types}).Check(p.ImportPath, m.fset, files, nil)
	return err
}
