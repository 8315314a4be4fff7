//go:build linux

package concurrency

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Programs that open the file once, and write it again and again through that descriptor, as TinyDB does.
var held = []kind{
	{name: "r+once", formats: "json lines", run: once(os.O_RDWR, (*program).rewrite)},
	{name: "r+once-synced", formats: "json lines", run: once(os.O_RDWR, synced((*program).rewrite))},
	{name: "append-once", formats: "lines", run: once(os.O_WRONLY|os.O_APPEND, (*program).appendTo)},
	{name: "append-once-synced", formats: "lines", run: once(os.O_WRONLY|os.O_APPEND, synced((*program).appendHalves))},
	{name: "append-once-halves", formats: "lines", run: once(os.O_RDWR|os.O_APPEND, (*program).appendHalves)},
}

// once: what was not synced is acknowledged when the descriptor is closed. It writes at about the time at which what has
// rested for 50 ms is taken.
func once(flags int, write func(p *program, f *os.File, id string) error) func(*program) error {
	return func(p *program) error {
		f, err := os.OpenFile(p.file, flags, 0)
		if err != nil {
			return err
		}
		var ids []string
		for ; p.next < p.end; p.next++ {
			id := fmt.Sprintf("%s-%d", p.name, p.next)
			announce(id)
			if flags&os.O_APPEND == 0 && len(ids) > 0 {
				say("over", ids[len(ids)-1])
			}
			if err := write(p, f, id); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			ids = append(ids, id)
			if p.next%4 != 3 {
				time.Sleep(45*time.Millisecond + rand.N(10*time.Millisecond))
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
		for _, id := range ids {
			acknowledge(id)
		}
		return nil
	}
}

// synced: a program that has had it made durable is done with it.
func synced(write func(p *program, f *os.File, id string) error) func(p *program, f *os.File, id string) error {
	return func(p *program, f *os.File, id string) error {
		err := errors.Join(write(p, f, id), f.Sync())
		if err == nil {
			acknowledge(id)
		}
		return err
	}
}
