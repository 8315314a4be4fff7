package sidecar

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// descriptors are those that a process has open, and by what it opened them.
type descriptors map[any]string

type openDir struct {
	vfs.Dir
	all descriptors
}

type openFile struct {
	vfs.File
	all descriptors
}

func (d *openDir) OpenDir(name string) (vfs.Dir, error) {
	dir, err := d.Dir.OpenDir(name)
	if err != nil {
		return nil, err
	}
	opened := &openDir{dir, d.all}
	d.all[opened] = name + "/"
	return opened, nil
}

func (d *openDir) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := d.Dir.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	opened := &openFile{file, d.all}
	d.all[opened] = name
	return opened, nil
}

func (d *openDir) Link(name string, to vfs.Dir, newName string) error {
	if other, ok := to.(*openDir); ok {
		to = other.Dir
	}
	return d.Dir.Link(name, to, newName)
}

func (d *openDir) Close() error {
	delete(d.all, d)
	return d.Dir.Close()
}

func (f *openFile) CopyMeta(from vfs.File) []string {
	if other, ok := from.(*openFile); ok {
		from = other.File
	}
	return f.File.CopyMeta(from)
}

func (f *openFile) Close() error {
	delete(f.all, f)
	return f.File.Close()
}

// Whatever call of it fails, a process that has closed its Guard has no descriptor open. A process that lives for long would
// come to its limit.
func TestNoDescriptorIsLeft(t *testing.T) {
	for name, do := range map[string]func(g *Guard) error{
		"apply": func(g *Guard) error { _, err := g.Apply(t.Context(), incr("/n")); return err },
		"update": func(g *Guard) error {
			_, err := g.Update(t.Context(), func(d *merge.Document) error { return d.Do(incr("/n")) })
			return err
		},
		"journal": func(g *Guard) error { return g.Journal(t.Context(), incr("/n")) },
		"read":    func(g *Guard) error { _, err := g.Read(t.Context()); return err },
		"overlay": func(g *Guard) error { _, _, err := g.overlay(t.Context()); return err },
		"status":  func(g *Guard) error { _, err := g.Status(t.Context()); return err },
		"verify":  func(g *Guard) error { _, err := g.Verify(t.Context(), true); return err },
		"recover": func(g *Guard) error { _, _, err := g.Recover(t.Context(), true); return err },
		"clean":   func(g *Guard) error { _, err := g.Clean(t.Context()); return err },
		"history": func(g *Guard) error { _, err := g.History(t.Context()); return err },
		"preview": func(g *Guard) error {
			versions, err := g.History(t.Context())
			if err == nil {
				_, err = g.PreviewRestore(t.Context(), versions[0], "/n")
			}
			return err
		},
		"restore": func(g *Guard) error {
			versions, err := g.History(t.Context())
			if err == nil {
				_, err = g.Restore(t.Context(), versions[0], "/n")
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := used(t, `{"n":0,"o":{}}`)
			g := m.process(Options{History: &History{}})
			_, err := g.Apply(t.Context(), incr("/n"))
			require.NoError(t, err)
			m.plant(strangerID, stranger(t, header{}, 2))
			require.NoError(t, g.Journal(t.Context(), merge.Op{Kind: merge.OpAppend, At: "/o", Value: []byte("1")})) // will be refused
			g.parent.Close()                                                                                         // it is killed
			for i := 0; ; i++ {
				calls, failed, begun := 0, "", false
				one := m.clone()
				g := one.processWith(Options{History: &History{}}, func(c vfs.Call) vfs.Fault {
					if !begun || c.Op == "close" {
						return vfs.Fault{}
					}
					if calls++; calls != i {
						return vfs.Fault{}
					}
					failed = c.Op + " " + c.Path
					return vfs.Fault{Err: syscall.EIO}
				})
				all := descriptors{}
				g.parent = &openDir{g.parent, all}
				begun = true
				err := do(g)
				_ = g.Close()
				require.Empty(t, all, "call %d, %s, failed: %v", i, failed, err)
				if i > 0 && failed == "" {
					break
				}
			}
		})
	}
}
