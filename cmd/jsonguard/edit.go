package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

func (a *app) editCommand() *cobra.Command {
	cmd := a.verb(groupChange, "edit FILE", "Edit a file in $EDITOR; merged when it closes",
		`Open a private copy of FILE in $VISUAL or $EDITOR (which may have arguments) and merge what was changed when the editor
closes. Nobody is locked out meanwhile. If the text is no JSON, a person at a terminal may go on editing; otherwise the
copy is kept in quarantine and the status is 65. An editor that fails (vim: :cq) changes nothing (74).`,
		`  jsonguard edit results.json
  EDITOR='code --wait' jsonguard edit results.json`,
		between(1, 1), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.edit(cmd.Context(), args[0]) } // Ctrl-C is the editor's
	return startsPrograms(writes.mark(cmd))
}

func (a *app) edit(ctx context.Context, file string) error {
	g, err := a.guard(file)
	if err != nil {
		return err
	}
	defer g.Close()
	view, err := g.View(ctx)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(view.Path())
	missing := os.IsNotExist(err)
	if err != nil && !missing {
		return errors.Join(err, discard(ctx, view, nil, true))
	}
	for {
		if err := a.runEditor(view.Path()); err != nil {
			return errors.Join(&problem{op: "edit", path: file, err: err, hint: "nothing was changed", status: statusIO},
				discard(ctx, view, before, missing))
		}
		after, err := os.ReadFile(view.Path())
		if err != nil {
			break // removed: Close knows what that means
		}
		if _, err = merge.Parse(after, g.Format()); err == nil || !a.askAgain(complaintOf(err).text) {
			break
		}
	}
	ctx, stop := a.interruptible(ctx)
	defer stop()
	closing := time.Now()
	result, err := view.Close(ctx)
	if err != nil {
		return err
	}
	if err := a.done(g, result, nil); err != nil {
		return err
	}
	if places := refusedPlaces(conflictsOf(os.Getpid(), g, closing)); places != nil {
		return &problem{op: "edit", path: file, status: statusData, hint: "everything else was merged; jsonguard conflicts shows what was written",
			err: fmt.Errorf("%w by the policy: %s", merge.ErrRefused, strings.Join(places, ", "))}
	}
	return nil
}

// discard puts back what the copy held, so that closing the view finds nothing to merge.
func discard(ctx context.Context, view *sidecar.View, before []byte, missing bool) error {
	var err error
	if missing {
		if err = os.Remove(view.Path()); os.IsNotExist(err) {
			err = nil
		}
	} else if now, rerr := os.ReadFile(view.Path()); rerr != nil || !bytes.Equal(now, before) {
		err = os.WriteFile(view.Path(), before, 0o600)
	}
	_, cerr := view.Close(ctx)
	return errors.Join(err, cerr)
}

// runEditor waits for the editor. As git does it, the shell reads the variable, which so may hold arguments and quotes.
func (a *app) runEditor(path string) error {
	editor := os.Getenv("VISUAL")
	if editor == "" {
		editor = os.Getenv("EDITOR")
	}
	var cmd *exec.Cmd
	switch {
	case runtime.GOOS == "windows":
		words := append(strings.Fields(editor), path)
		if editor == "" {
			words = []string{"notepad", path}
		}
		cmd = exec.Command(words[0], words[1:]...)
	case editor == "":
		cmd = exec.Command("vi", path)
	default:
		cmd = exec.Command("/bin/sh", "-c", editor+` "$@"`, editor, path)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout.w, a.stderr
	if a.json {
		cmd.Stdout = a.stderr // stdout is for the JSON
	}
	// Ctrl-C belongs to the editor.
	arrived := make(chan os.Signal, 8)
	signal.Notify(arrived, os.Interrupt)
	defer signal.Stop(arrived)
	if err := cmd.Run(); err != nil {
		if editor == "" {
			editor = cmd.Path
		}
		return fmt.Errorf("editor %s: %w", editor, err)
	}
	return nil
}

func (a *app) askAgain(what string) bool {
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return false
	}
	a.say("%s", what)
	fmt.Fprint(a.stderr, "jsonguard: edit again? [Y/n] ")
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	return err == nil && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "n")
}
