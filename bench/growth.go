package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// growth shows how the time of one fold grows with the document, the pending changes and the sidecars.
func growth(b *bench) error {
	if err := b.atLeastRuns(9, b.growthOfDocument); err != nil {
		return err
	}
	took := map[[2]int]float64{}
	changes, sidecars := b.chart("Time of a fold, 1 sidecar", "pending changes", "ms"), b.chart("Time of a fold, 10 changes in each sidecar", "sidecars", "ms")
	for _, shape := range [][2]int{{1, 1000}, {1, 10_000}, {1, 100_000}, {10, 10}, {100, 10}, {1000, 10}} {
		owners, each := shape[0], shape[1]
		seconds, err := b.recoverTime(owners, each)
		if err != nil {
			return err
		}
		took[shape] = seconds
		show(fmt.Sprintf("fold of %d sidecars with %d changes each, 1 MB", owners, each), seconds, 0)
		if owners == 1 {
			changes.add("jsonguard recover", float64(each), seconds*1e3)
		}
		if each == 10 {
			sidecars.add("jsonguard recover", float64(owners), seconds*1e3)
		}
	}
	b.atMost("a fold of 100,000 changes: to one of 10,000", took[[2]int{1, 100_000}]/took[[2]int{1, 10_000}], 12)
	b.atMost("a fold of 1,000 sidecars: to one of 100", took[[2]int{1000, 10}]/took[[2]int{100, 10}], 12)
	return nil
}

func (b *bench) growthOfDocument() error {
	picture := b.chart("Time of one small change", "MB", "ms")
	took, floors := map[int]float64{}, map[int]float64{}
	for _, megabytes := range b.sizes {
		dir := filepath.Join(b.work, "growth")
		path := filepath.Join(dir, "data.json")
		doc := document(megabytes)
		floor, remove, err := b.floor(doc)
		if err = errors.Join(err, os.Mkdir(dir, 0o755), os.WriteFile(path, doc, 0o644)); err != nil {
			return err
		}
		i := 0
		seconds, _, err := b.times(nil, floor, func() error {
			i++
			return exec.Command(b.command, "set", path, "/added/x", strconv.Itoa(i)).Run()
		})
		remove()
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		floors[megabytes], took[megabytes] = seconds[0], seconds[1]
		picture.add("raw rewrite", float64(megabytes), seconds[0]*1e3)
		picture.add("jsonguard set", float64(megabytes), seconds[1]*1e3)
		show(fmt.Sprintf("floor: read, write, fsync, rename, %d MB", megabytes), seconds[0], 0)
		show(fmt.Sprintf("one change, document of %d MB", megabytes), seconds[1], 0)
	}
	if took[100] > 0 && took[10] > 0 {
		b.atMost(fmt.Sprintf("one change to 100 MB: to one to 10 MB (floor %.2f)", floors[100]/floors[10]), took[100]/took[10], 12)
	}
	return nil
}

func (b *bench) recoverTime(owners, each int) (float64, error) {
	made, err := b.madePending(owners, each)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(made)
	here := filepath.Join(b.work, "recover")
	defer os.RemoveAll(here)
	seconds, _, err := b.times(func() error {
		return errors.Join(os.RemoveAll(here), exec.Command("cp", "-r", made, here).Run())
	}, func() error { return exec.Command(b.command, "recover", filepath.Join(here, "data.json")).Run() })
	if err != nil {
		return 0, err
	}
	return seconds[0], nil
}
