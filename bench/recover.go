package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// recovery: what dead processes left. It is made in memory, where an fsync costs nothing, and then copied here. The floor
// reads all of it and rewrites once what becomes of the document.
func recovery(b *bench) error {
	const owners, perOwner = 1000, 1000
	each := perOwner
	if b.check {
		each = 100
	}
	made, err := b.madePending(owners, each)
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	here := filepath.Join(b.work, "recover")
	defer os.RemoveAll(here)
	outcome := filepath.Join(b.work, "recovered.json")
	defer os.Remove(outcome)
	copied := func() error {
		return errors.Join(os.RemoveAll(here), exec.Command("cp", "-r", made, here).Run())
	}
	size := 0
	recovering := func() error { return exec.Command(b.command, "recover", filepath.Join(here, "data.json")).Run() }
	if err := errors.Join(copied(), recovering(), os.Rename(filepath.Join(here, "data.json"), outcome)); err != nil {
		return err
	}
	t, err := b.turns(copied, func() error {
		size = 0
		files, err := filepath.Glob(filepath.Join(here, ".data.json.guard", "pending", "*"))
		for _, f := range files {
			content, rerr := os.ReadFile(f)
			err = errors.Join(err, rerr)
			size += len(content)
		}
		return errors.Join(err, rewrite(outcome))
	}, recovering)
	if err != nil {
		return err
	}
	seconds, ratios := t.seconds, t.ratios
	if b.halved { // a second time there is nothing to recover
		t.cpu[1] *= 2
	}
	show(fmt.Sprintf("floor: read %d sidecars, one rewrite", owners), seconds[0], size)
	show(fmt.Sprintf("jsonguard recover, %d changes", owners*each), seconds[1], size)
	b.atMost(fmt.Sprintf("recovery of %d,000 changes of 1,000 dead processes: to reading them + a rewrite", owners*each/1000), ratios[1], 3)
	b.guardAtMost("recovery: processor time to reading + a rewrite", t.cpu[1], 10.8)
	return nil
}

// madePending is a directory in memory with a document of 1 MB and what dead processes left for it.
func (b *bench) madePending(owners, each int) (string, error) {
	made, err := os.MkdirTemp("/dev/shm", "jsonguard-bench-")
	if err != nil {
		return "", err
	}
	err = os.WriteFile(filepath.Join(made, "data.json"), document(1), 0o644)
	if err == nil {
		cmd := exec.Command(b.self, made, strconv.Itoa(owners), strconv.Itoa(each))
		cmd.Env = append(os.Environ(), "BENCH_ROLE=pending")
		cmd.Stderr = os.Stderr
		err = cmd.Run()
	}
	if err != nil {
		_ = os.RemoveAll(made)
	}
	return made, err
}

// leavePending makes sidecars and dies without folding them. The changes are those of the other groups: records of 200
// bytes, the same ones over and over.
func leavePending(args []string) int {
	owners, _ := strconv.Atoi(args[1])
	each, _ := strconv.Atoi(args[2])
	path := filepath.Join(args[0], "data.json")
	for owner := range owners {
		g, err := sidecar.Open(path, sidecar.Options{Timeout: -1})
		if err != nil {
			return report(err)
		}
		for i := range each {
			op := merge.Op{Kind: merge.OpSet, At: "/added/" + name(owner, i), Value: record(i)}
			if err := g.Journal(context.Background(), op); err != nil {
				return report(err)
			}
			if owner == 0 && i == 0 { // from now on nobody folds
				hold, err := os.OpenFile(filepath.Join(sidecar.GuardDir(path), "lock"), os.O_RDWR, 0)
				if err == nil {
					err = flock(hold)
				}
				if err != nil {
					return report(err)
				}
				defer hold.Close()
			}
		}
		runtime.KeepAlive(g)
	}
	return 0
}
