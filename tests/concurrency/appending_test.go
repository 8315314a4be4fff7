//go:build linux

package concurrency

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Programs that append to JSON Lines.
var appending = []kind{
	{name: "append", formats: "lines", run: opening(os.O_WRONLY|os.O_APPEND, (*program).appendTo)},
	{name: "append-halves", formats: "lines", run: opening(os.O_WRONLY|os.O_APPEND, (*program).appendHalves)},
	{name: "append-reader", formats: "lines", run: opening(os.O_RDWR|os.O_APPEND, (*program).appendTo)},
	{name: "append-inherited", formats: "lines", run: func(p *program) error { return p.each(p.bequeath(os.O_WRONLY | os.O_APPEND)) }},
	{name: "append-flock", formats: "lines", run: opening(os.O_WRONLY|os.O_APPEND, func(p *program, f *os.File, id string) error {
		if err := flock(f, 0); err != nil {
			return err
		}
		return errors.Join(p.appendHalves(f, id), flock(f, unix.LOCK_UN))
	})},
	{name: "shell", formats: "lines", run: func(p *program) error {
		return p.each(func(id string) error {
			return exec.Command("sh", "-c", `{ printf '"'; printf %s "$2"; printf '"\n'; } >> "$1"`, "sh", p.file, id).Run()
		})
	}},
	{name: "tee-a", formats: "lines", run: func(p *program) error {
		return p.each(func(id string) error {
			return exec.Command("sh", "-c", `printf '"%s"\n' "$2" | tee -a "$1" >/dev/null`, "sh", p.file, id).Run()
		})
	}},
}

// opening opens the file for each line.
func opening(flags int, write func(p *program, f *os.File, id string) error) func(*program) error {
	return func(p *program) error {
		return p.each(func(id string) error {
			f, err := os.OpenFile(p.file, flags, 0)
			if err != nil {
				return err
			}
			if err = write(p, f, id); err == nil {
				p.rest()
			}
			return errors.Join(err, f.Close())
		})
	}
}

func (p *program) appendTo(f *os.File, id string) error {
	_, err := fmt.Fprintf(f, "%q\n", id)
	if err == nil {
		wrote(id)
	}
	return err
}

// appendHalves writes a line in two halves, with a moment between them.
func (p *program) appendHalves(f *os.File, id string) error {
	line := fmt.Sprintf("%q\n", id)
	_, err := f.WriteString(line[:len(line)/2])
	p.rest()
	if err == nil {
		_, err = f.WriteString(line[len(line)/2:])
	}
	if err == nil {
		wrote(id)
	}
	return err
}
