package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/spf13/cobra"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

func (a *app) stressWorkerCommand() *cobra.Command {
	cmd := a.verb("", "stress-worker KIND FILE NUMBER FROM TO", "One process of a stress run", "What stress runs.", "", between(5, 5),
		func(cmd *cobra.Command, args []string) error {
			number, err1 := strconv.Atoi(args[2])
			from, err2 := strconv.Atoi(args[3])
			to, err3 := strconv.Atoi(args[4])
			if err := errors.Join(err1, err2, err3); err != nil {
				return usage("", "stress-worker: %v", err)
			}
			w, err := a.newStressWorker(args[0], args[1])
			if err != nil {
				return err
			}
			for i := from; i < to; i++ {
				id := fmt.Sprintf("%s.%d-%d", args[0], number, i)
				a.println("try", id)
				if err := w(cmd.Context(), id, i); err != nil {
					return err
				}
				a.println("ack", id)
			}
			return nil
		})
	cmd.Hidden = true
	return writes.mark(cmd)
}

// newStressWorker returns what does the operation i with an id.
func (a *app) newStressWorker(kind, file string) (func(ctx context.Context, id string, i int) error, error) {
	switch kind {
	case "library":
		g, err := a.guard(file)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, id string, i int) error { return libraryOperation(ctx, g, id, i) }, nil
	case "verb":
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, id string, i int) error {
			for _, args := range [][]string{
				{"incr", "-q", "--timeout", "60s", file, "/verb"},
				{"append", "-q", "--timeout", "60s", "--string", file, "/log", id},
			} {
				cmd := exec.CommandContext(ctx, self, args...)
				cmd.Stderr = a.stderr
				if err := cmd.Run(); err != nil {
					return err
				}
			}
			return nil
		}, nil
	case "exec":
		return func(ctx context.Context, id string, i int) error { return naiveAppend(file, id) }, nil
	}
	return nil, usage("", "stress-worker: unknown kind %q", kind)
}

// libraryOperation takes turns between the ways to change a file.
func libraryOperation(ctx context.Context, g *sidecar.Guard, id string, i int) error {
	ops := []merge.Op{
		{Kind: "append", At: "/log", Value: jsonText(id)},
		{Kind: "incr", At: "/library", Value: merge.Raw("1")},
	}
	switch i % 3 {
	case 0:
		_, err := g.Apply(ctx, ops...)
		return err
	case 1:
		return g.Journal(ctx, ops...)
	}
	_, err := g.Update(ctx, func(d *merge.Document) error { return d.Do(ops...) })
	return err
}

// naiveAppend is a program that was never written for this: it loads, adds and dumps.
func naiveAppend(file, id string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(content, &doc); err != nil {
		return err
	}
	var log []string
	if err := json.Unmarshal(doc["log"], &log); err != nil {
		return err
	}
	if doc["log"], err = json.Marshal(append(log, id)); err != nil {
		return err
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o666)
}
