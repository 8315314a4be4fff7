//go:build linux

package rhythm

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// point is a place in the sources at which a process may be made to wait: before a statement that asks something of somebody
// else, or behind the last one of a function of the real filesystem.
type point struct {
	file string // below the module's root
	line int
	n    int // of the points of that line, from 0
	in   string
}

func (p point) String() string { return fmt.Sprintf("%s:%d.%d", p.file, p.line, p.n) }

// rooms are the packages that have points.
var rooms = []string{"sidecar", "internal/session", "internal/intercept", "lock", "internal/vfs", "atomicjson"}

// untouched: what runs in a child of fork(2) that has no Go runtime, and the filesystems that only tests have.
var untouched = []string{"guardian.go", "mem.go", "mem_fs.go", "mem_cut.go", "faults.go"}

const (
	delayPackage = "jsonguard/tests/rhythm/delay"
	delayName    = "rhythmDelay"
)

// instrument writes the sources with their points to dir. Lines keep their numbers. replace is for an overlay; mutated are sources that
// are elsewhere.
func instrument(root, dir string, mutated map[string]string) (points []point, replace map[string]string, err error) {
	replace = map[string]string{}
	for _, room := range rooms {
		files, err := filepath.Glob(filepath.Join(root, room, "*.go"))
		if err != nil {
			return nil, nil, err
		}
		for _, path := range files {
			base := filepath.Base(path)
			if strings.HasSuffix(base, "_test.go") || slices.Contains(untouched, base) {
				continue
			}
			from := path
			if mutant := mutated[path]; mutant != "" {
				from = mutant
			}
			src, err := os.ReadFile(from)
			if err != nil {
				return nil, nil, err
			}
			made, here, err := withPoints(room+"/"+base, src, len(points))
			if err != nil {
				return nil, nil, err
			}
			if len(here) == 0 {
				continue
			}
			points = append(points, here...)
			replaced := filepath.Join(dir, strings.ReplaceAll(room, "/", "-")+"-"+base)
			if err := os.WriteFile(replaced, made, 0o600); err != nil {
				return nil, nil, err
			}
			replace[path] = replaced
		}
	}
	return points, replace, nil
}

type insertion struct {
	at   int
	text string
}

// withPoints puts points into one source file; the first has the number first.
func withPoints(file string, src []byte, first int) (made []byte, points []point, err error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, nil, err
	}
	var insertions []insertion
	add := func(in string, at token.Pos, call string) {
		p := point{file: file, line: set.Position(at).Line, in: in}
		for _, other := range points {
			if other.line == p.line {
				p.n++
			}
		}
		insertions = append(insertions, insertion{set.Position(at).Offset, fmt.Sprintf(call, first+len(points))})
		points = append(points, p)
	}
	for _, decl := range tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil || f.Name.Name == "init" {
			continue
		}
		name := nameOf(f)
		if strings.HasPrefix(file, "internal/vfs/os") && len(f.Body.List) > 0 {
			add(name+", behind", f.Body.List[0].Pos(), "defer "+delayName+".At(%d);")
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			for _, s := range statements(n) {
				if asks(s) {
					add(name, s.Pos(), delayName+".At(%d);")
				}
			}
			return true
		})
	}
	if len(points) == 0 {
		return nil, nil, nil
	}
	insertions = append(insertions, insertion{set.Position(tree.Name.End()).Offset, fmt.Sprintf("; import %s %q", delayName, delayPackage)})
	slices.SortStableFunc(insertions, func(a, b insertion) int { return a.at - b.at })
	var out bytes.Buffer
	done := 0
	for _, i := range insertions {
		out.Write(src[done:i.at])
		out.WriteString(i.text)
		done = i.at
	}
	out.Write(src[done:])
	return out.Bytes(), points, nil
}

func nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if i, ok := of.(*ast.IndexExpr); ok {
		of = i.X
	}
	if i, ok := of.(*ast.IndexListExpr); ok {
		of = i.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

func statements(n ast.Node) []ast.Stmt {
	switch n := n.(type) {
	case *ast.BlockStmt:
		if len(n.List) > 0 && isClause(n.List[0]) {
			return nil
		}
		return n.List
	case *ast.CaseClause:
		return n.Body
	case *ast.CommClause:
		return n.Body
	}
	return nil
}

func isClause(s ast.Stmt) bool {
	switch s.(type) {
	case *ast.CaseClause, *ast.CommClause:
		return true
	}
	return false
}

// plain are calls that ask nobody.
var plain = []string{
	"len", "cap", "append", "make", "new", "copy", "clear", "min", "max", "delete", "string", "int", "int64", "uint64", "uint32", "byte",
	"errors", "strings", "bytes", "slices", "maps", "fmt", "strconv", "filepath", "json", "isMissing", "ignoreMissing",
}

// asks says whether a statement, but for the blocks in it, which have points of their own, asks something of a lock, a channel, a file
// or another function.
func asks(s ast.Stmt) (yes bool) {
	ast.Inspect(s, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BlockStmt, *ast.FuncLit:
			return false
		case *ast.DeferStmt:
			return false
		case *ast.GoStmt, *ast.SendStmt, *ast.SelectStmt:
			yes = true
		case *ast.UnaryExpr:
			yes = yes || n.Op == token.ARROW
		case *ast.CallExpr:
			yes = yes || !isPlain(n.Fun)
		}
		return !yes
	})
	return yes
}

func isPlain(called ast.Expr) bool {
	if s, ok := called.(*ast.SelectorExpr); ok {
		called = s.X
	}
	id, ok := called.(*ast.Ident)
	return ok && slices.Contains(plain, id.Name)
}
