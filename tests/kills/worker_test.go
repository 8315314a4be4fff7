//go:build unix

package kills

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// The parts that a process plays. A worker says what it does, a line at a time: "try ID", "ack ID", "held" when it has the
// lock, "recovering", "pid N" of a runner. It goes on until it is killed.
const (
	holder    = "holder"
	waiter    = "waiter"
	folder    = "folder"
	recoverer = "recoverer"
	wrapper   = "wrapper"
	runner    = "runner"
	group     = "group"
)

// say is one write, so that a kill leaves whole lines.
func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

func work(role, file, name string) int {
	if err := play(role, file, name); err != nil {
		fmt.Fprintln(os.Stderr, role, name, err)
		return 1
	}
	return 0
}

func play(role, file, name string) error {
	if role == runner {
		return playRunner(file, name)
	}
	ctx := context.Background()
	g, err := sidecar.Open(file, sidecar.Options{Timeout: 5 * time.Minute, Warn: func(string) {}})
	if err != nil {
		return err
	}
	for i := 0; err == nil; i++ {
		id := name + "-" + strconv.Itoa(i)
		switch role {
		case holder:
			say("try %s", id)
			_, err = g.Update(ctx, func(d *merge.Document) error {
				if err := d.Do(change(id)...); err != nil {
					return err
				}
				say("held")
				_, err := io.Copy(io.Discard, os.Stdin) // until it is let go on
				return err
			})
		case waiter:
			say("try %s", id)
			_, err = g.Apply(ctx, change(id)...)
		case folder:
			say("try %s", id)
			if i%2 == 0 {
				err = g.Journal(ctx, change(id)...)
			} else {
				_, err = g.Apply(ctx, change(id)...)
			}
		case recoverer:
			say("recovering")
			_, _, err = g.Recover(ctx, false)
			continue
		}
		if err == nil {
			say("ack %s", id)
		}
		if role == holder {
			return errors.Join(err, g.Close())
		}
	}
	return err
}

// change is a counter and an entry of a list, together or not at all.
func change(id string) []merge.Op {
	return []merge.Op{
		{Kind: merge.OpIncr, At: "/count", Value: merge.Raw("1")},
		{Kind: merge.OpAppend, At: "/log", Value: merge.Raw(strconv.Quote(id))},
	}
}

// playRunner is a program that knows nothing of jsonguard: it reads all, adds a record, and replaces the file.
func playRunner(file, name string) error {
	say("pid %d", os.Getpid())
	for i := 0; ; i++ {
		id := name + "-" + strconv.Itoa(i)
		say("try %s", id)
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			return err
		}
		records, _ := doc["records"].(map[string]any)
		if records == nil {
			records = map[string]any{}
		}
		records[id] = i
		doc["records"] = records
		out, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(file+".new", out, 0o600), os.Rename(file+".new", file)); err != nil {
			return err
		}
		say("ack %s", id) // finished writing: from here on it may not be lost
		time.Sleep(time.Millisecond)
	}
}
