//go:build unix

package concurrency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"jsonguard/atomicjson"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// say is one write, so that a kill leaves whole lines.
func say(word, what string) { _, _ = os.Stdout.WriteString(word + " " + what + "\n") }

func announce(id string)    { say("try", id) }
func acknowledge(id string) { say("ack", id) }

// libraryWorker: FILE NAME FIRST COUNT KIND, in a process of its own.
func libraryWorker(args []string) int {
	file, name, kind := args[0], args[1], args[4]
	first, _ := strconv.Atoi(args[2])
	count, _ := strconv.Atoi(args[3])
	ctx := context.Background()
	g, err := sidecar.Open(file, sidecar.Options{Timeout: 2 * time.Minute})
	if err != nil {
		return fail(err)
	}
	defer g.Close()
	for i := first; i < first+count; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		announce(id)
		switch kind {
		case "update":
			err = atomicjson.Update(ctx, file, func(d *atomicjson.Document) error {
				if isLines(file) {
					return d.Append("", id)
				}
				if err := d.Add("/counter", 1); err != nil {
					return err
				}
				return d.Append("/log", id)
			})
		case "apply":
			_, err = g.Apply(ctx, recordOps(file, id)...)
		case "journal":
			err = g.Journal(ctx, recordOps(file, id)...)
		}
		if err != nil {
			return fail(err)
		}
		acknowledge(id)
	}
	if kind == "journal" {
		if _, err := g.Flush(ctx); err != nil {
			return fail(err)
		}
	}
	return 0
}

func isLines(file string) bool { return filepath.Ext(file) == ".jsonl" }

// recordOps is one operation of the test: a counter and a list entry, together or not at all; a line of JSON Lines.
func recordOps(file, id string) []merge.Op {
	quoted, _ := json.Marshal(id)
	if isLines(file) {
		return []merge.Op{{Kind: merge.OpAppend, Value: quoted}}
	}
	return []merge.Op{
		{Kind: merge.OpIncr, At: "/counter", Value: merge.Raw("1")},
		{Kind: merge.OpAppend, At: "/log", Value: quoted},
	}
}

// naiveWorker is the program that nobody changed: it reads all, adds a record, writes all, under exec.
func naiveWorker(args []string) int {
	file, name := args[0], args[1]
	first, _ := strconv.Atoi(args[2])
	count, _ := strconv.Atoi(args[3])
	for i := first; i < first+count; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		announce(id)
		if isLines(file) {
			if err := appendLine(file, id, i%4 == 3); err != nil {
				return fail(err)
			}
			acknowledge(id)
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return fail(err)
		}
		var doc map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(raw)))
		decoder.UseNumber()
		if err := decoder.Decode(&doc); err != nil {
			return fail(err)
		}
		records, _ := doc["exec"].(map[string]any)
		if records == nil {
			records = map[string]any{}
			doc["exec"] = records
		}
		records[id] = i
		out, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			return fail(err)
		}
		// By rename: a program that writes over its copy and is killed at it, together with its wrapper, has nothing left
		// of what it wrote since the wrapper looked last.
		if err := errors.Join(os.WriteFile(file+".new", out, 0o600), os.Rename(file+".new", file)); err != nil {
			return fail(err)
		}
		acknowledge(id) // finished writing: from here on it may not be lost
	}
	return 0
}

// appendLine: what is slow closes the file about when its supervisor takes what it has written for complete.
func appendLine(file, id string, slow bool) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%q\n", id)
	if slow {
		time.Sleep(50*time.Millisecond + rand.N(5*time.Millisecond))
	}
	return errors.Join(err, f.Close())
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
