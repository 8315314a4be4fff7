//go:build linux

package concurrency

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Programs that put a new file in the place of the old one.
var replacing = []kind{
	{name: "rename", formats: "json lines", run: func(p *program) error { // one name for everybody, as lowdb
		return p.each(func(id string) error {
			fixed := filepath.Join(filepath.Dir(p.file), "."+filepath.Base(p.file)+".tmp")
			return p.byName(id, fixed, func() error { return os.Rename(fixed, p.file) })
		})
	}},
	{name: "rename-random", formats: "json lines", run: func(p *program) error {
		return p.each(func(id string) error {
			f, err := os.CreateTemp(filepath.Dir(p.file), "tmp*")
			if err != nil {
				return err
			}
			text, err := p.version(id)
			if err == nil {
				_, err = f.Write(text)
			}
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return err
			}
			return os.Rename(f.Name(), p.file)
		})
	}},
	{name: "memory-rename", formats: "json lines", run: fromMemory(func(p *program, text []byte) error {
		own := filepath.Join(filepath.Dir(p.file), p.name+".new")
		return errors.Join(os.WriteFile(own, text, 0o600), os.Rename(own, p.file))
	})},
	{name: "cp", formats: "json lines", run: byCommand("cp")},
	{name: "install", removes: true, formats: "json lines", run: byCommand("install", "-m", "600")},
	{name: "tee", formats: "json lines", run: byCommand("sh", "-c", `tee "$2" <"$1" >/dev/null`, "sh")},
	{name: "unlink", removes: true, formats: "json lines", run: removing(func(p *program) error { return os.Remove(p.file) })},
	{name: "move-away", removes: true, formats: "json lines", run: removing(func(p *program) error {
		return os.Rename(p.file, filepath.Join(filepath.Dir(p.file), p.name+".bak"))
	})},
}

// byName writes a version under another name, and then has it take the file's place.
func (p *program) byName(id, name string, replace func() error) error {
	text, err := p.version(id)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return err
	}
	p.rest()
	return replace()
}

// byCommand runs a program of the system: SOURCE TARGET.
func byCommand(argv ...string) func(*program) error {
	return func(p *program) error {
		own := filepath.Join(filepath.Dir(p.file), p.name+".new")
		return p.each(func(id string) error {
			return p.byName(id, own, func() error {
				for {
					out, err := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], own, p.file)...).CombinedOutput()
					if err == nil {
						return nil
					}
					// install removes the file first, and may meet another one of the tree at it, as without us.
					if argv[0] != "install" || !bytes.Contains(out, []byte("File exists")) && !bytes.Contains(out, []byte("No such file")) {
						return fmt.Errorf("%w: %s", err, out)
					}
				}
			})
		})
	}
}

// removing takes the old file away before it makes the new one.
func removing(remove func(*program) error) func(*program) error {
	return func(p *program) error {
		return p.each(func(id string) error {
			text, err := p.version(id)
			if err != nil {
				return err
			}
			// Another program of the tree may have taken it away this very moment.
			if err := remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			f, err := os.OpenFile(p.file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			if _, err = f.Write(text); err == nil {
				wrote(id)
				p.rest()
			}
			return errors.Join(err, f.Close())
		})
	}
}
