package main

import (
	"fmt"
	"slices"
)

func (b *bench) row(what string, c contention) {
	fmt.Printf("  %-46s %10.1f/s   median %9s   longest %9s   slowest process %3.0f %% of fair\n",
		what, c.perSecond, micros(c.median), micros(c.longest), 100*c.share)
}

func micros(us int64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%d µs", us)
	case us < 1_000_000:
		return fmt.Sprintf("%.1f ms", float64(us)/1e3)
	}
	return fmt.Sprintf("%.2f s", float64(us)/1e6)
}

// table measures peers against numbers of processes.
func (b *bench) table(title string, peers []peer, megabytes int) (map[string]map[int]contention, error) {
	results := map[string]map[int]contention{}
	picture := b.chart(title, "processes", "records a second")
	for _, p := range peers {
		if why := p.missing(b); why != "" {
			fmt.Printf("  %-46s skipped: %s\n", p.name, why)
			continue
		}
		results[p.name] = map[int]contention{}
		for _, n := range b.procs {
			c, err := b.contend(p, n, megabytes)
			if err != nil {
				return nil, err
			}
			results[p.name][n] = c
			picture.add(p.name, float64(n), c.perSecond)
			b.row(fmt.Sprintf("%s, %d processes, %d MB", p.name, n, megabytes), c)
		}
	}
	return results, nil
}

// durable: how many changes a second are safe on disk, whoever is killed next.
func durable(b *bench) error {
	r, err := b.table("Durable acknowledgements", []peer{journaled, sqlite, rawAppend}, 1)
	if err != nil {
		return err
	}
	if slices.Contains(b.procs, 17) {
		ours, floor, theirs := r[journaled.name][17], r[rawAppend.name][17], r[sqlite.name][17]
		b.promise("journaled : raw append + fsync, 17 processes", ours.perSecond/floor.perSecond, 0.8, false)
		b.promise("journaled : SQLite WAL FULL, 17 processes", ours.perSecond/theirs.perSecond, 3, false)
	}
	return nil
}

// visible: how many changes a second every reader sees, on disk.
func visible(b *bench) error {
	for _, megabytes := range b.sizes {
		peers := []peer{visibly, sqlite}
		if megabytes <= 10 { // beyond, one rewrite in Python takes longer than the run
			peers = append(peers, rewriters...)
		}
		r, err := b.table(fmt.Sprintf("Visible acknowledgements, %d MB", megabytes), peers, megabytes)
		if err != nil {
			return err
		}
		b.promiseVisible(r, megabytes)
	}
	return nil
}

func (b *bench) promiseVisible(r map[string]map[int]contention, megabytes int) {
	ours, theirs := r[visibly.name], r[sqlite.name]
	python, havePython := r[rewriters[0].name]
	has := func(n int) bool { return slices.Contains(b.procs, n) }
	if megabytes == 1 && has(17) {
		b.promise("visible : SQLite WAL FULL, 1 MB, 17 processes", ours[17].perSecond/theirs[17].perSecond, 0.7, false)
	}
	if megabytes == 1 && has(64) {
		b.promise("visible : SQLite WAL FULL, 1 MB, 64 processes", ours[64].perSecond/theirs[64].perSecond, 2, false)
	}
	if bound := map[int]float64{1: 100, 10: 200}[megabytes]; bound > 0 && has(17) && havePython && python[17].perSecond > 0 {
		b.promise(fmt.Sprintf("visible : flock + Python, %d MB, 17 processes", megabytes), ours[17].perSecond/python[17].perSecond, bound, false)
	}
	for _, n := range []int{17, 64} {
		if megabytes == 1 && has(n) {
			b.promise(fmt.Sprintf("longest wait : median, visible, 1 MB, %d processes", n), float64(ours[n].longest)/float64(max(1, ours[n].median)), 20, true)
			b.promise(fmt.Sprintf("slowest process : its fair share, visible, 1 MB, %d processes", n), ours[n].share, 0.25, false)
		}
	}
	if megabytes == 1 && has(17) && has(64) {
		b.promise("64 processes : 17 processes, visible, 1 MB", ours[64].perSecond/ours[17].perSecond, 0.9, false)
	}
}
