package main

import (
	"cmp"
	"fmt"
	"slices"
)

// cell is a peer with a number of processes.
type cell struct {
	peer  string
	procs int
}

// table is what processes reached together, each measurement as often as it was made.
type table map[cell][]contention

func (t table) has(peer string, procs int) bool { return len(t[cell{peer, procs}]) > 0 }

// over is the ratio of two cells: the median of what their measurements gave that were made one after the other.
func (t table) over(a, b cell) float64 {
	var ratios []float64
	for i, one := range t[a] {
		if i < len(t[b]) && t[b][i].perSecond > 0 {
			ratios = append(ratios, one.perSecond/t[b][i].perSecond)
		}
	}
	return median(ratios)
}

// cpuOver is the ratio of the least processor time that an operation took.
func (t table) cpuOver(a, b cell) float64 {
	least := func(all []contention) float64 {
		return slices.MinFunc(all, func(x, y contention) int { return cmp.Compare(x.cpu, y.cpu) }).cpu
	}
	return least(t[a]) / least(t[b])
}

// compare measures peers with each number of processes, in turn, so that all see the same machine. often says which of
// them are measured several times.
func (b *bench) compare(title string, peers []peer, megabytes int, procs []int, often func(p peer, n int) bool) (table, error) {
	results := table{}
	for _, n := range procs {
		for run := range b.runs {
			for _, p := range peers {
				if run > 0 && !often(p, n) {
					continue
				}
				if why := p.missing(b); why != "" {
					b.skip(p.name, why)
					continue
				}
				c, err := b.contend(p, n, megabytes, run)
				if err != nil && !p.ours { // the others can be compared without it
					b.skip(fmt.Sprintf("%s, %d processes, %d MB", p.name, n, megabytes), fmt.Sprintf("failed: %v", err))
					continue
				}
				if err != nil {
					return nil, err
				}
				results[cell{p.name, n}] = append(results[cell{p.name, n}], c)
			}
		}
		for _, p := range peers {
			if results.has(p.name, n) {
				b.row(fmt.Sprintf("%s, %d processes, %d MB", p.name, n, megabytes), results.typical(cell{p.name, n}))
			}
		}
	}
	picture := b.chart(title, "processes", "changes a second")
	for _, p := range peers {
		for _, n := range procs {
			if results.has(p.name, n) {
				picture.add(p.name, float64(n), results.typical(cell{p.name, n}).perSecond)
			}
		}
	}
	return results, nil
}

func (b *bench) skip(what, why string) {
	text := what + ": " + why
	if !slices.Contains(b.skipped, text) {
		b.skipped = append(b.skipped, text)
		fmt.Printf("  %-52s skipped: %s\n", what, why)
	}
}

// typical is the median of a cell, of each number by itself.
func (t table) typical(c cell) contention {
	pick := func(get func(contention) float64) float64 {
		var values []float64
		for _, one := range t[c] {
			values = append(values, get(one))
		}
		return median(values)
	}
	return contention{
		perSecond: pick(func(c contention) float64 { return c.perSecond }),
		median:    int64(pick(func(c contention) float64 { return float64(c.median) })),
		longest:   int64(pick(func(c contention) float64 { return float64(c.longest) })),
		share:     pick(func(c contention) float64 { return c.share }),
	}
}

func (b *bench) row(what string, c contention) {
	fmt.Printf("  %-52s %10.1f/s   median %9s   longest %9s   slowest process %3.0f %% of fair\n",
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

// durable: how many changes a second are safe on disk, whoever is killed next.
func durable(b *bench) error {
	r, err := b.compare("Durable acknowledgements", []peer{journaled, sqlite, rawAppend}, 1, b.procs, func(_ peer, n int) bool { return n == 17 })
	if err != nil {
		return err
	}
	if slices.Contains(b.procs, 17) {
		ours := cell{journaled.name, 17}
		b.atLeast("durable, 17 processes: jsonguard to raw append + fsync", r.over(ours, cell{rawAppend.name, 17}), 0.8)
		b.atLeast("durable, 17 processes: jsonguard to SQLite WAL FULL", r.over(ours, cell{sqlite.name, 17}), 3)
		b.guardAtMost("durable, 17 processes: processor time to raw append + fsync", r.cpuOver(ours, cell{rawAppend.name, 17}), 1.75)
		b.guardAtLeast("durable, 17 processes: changes to raw append + fsync", r.over(ours, cell{rawAppend.name, 17}), 0.56)
	}
	return nil
}

// visible: how many changes a second every reader sees, on disk: against the number of processes with 1 MB, against the
// size of the document with 17 processes.
func visible(b *bench) error {
	small, err := b.visibleSmall()
	if err != nil {
		return err
	}
	if b.check || !slices.Contains(b.procs, 17) {
		return nil
	}
	picture := b.chart("Visible acknowledgements, 17 processes", "MB", "changes a second")
	peers := append([]peer{visibly, sqlite}, rewriters...)
	for _, p := range peers {
		if small.has(p.name, 17) {
			picture.add(p.name, 1, small.typical(cell{p.name, 17}).perSecond)
		}
	}
	for _, megabytes := range b.sizes {
		if megabytes == 1 {
			continue
		}
		if err := b.visibleLarge(picture, peers, megabytes); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) visibleSmall() (table, error) {
	peers := append([]peer{visibly, sqlite}, rewriters...)
	if b.check {
		peers = []peer{visibly, sqlite, rawAppend}
	}
	python := rewriters[0].name
	r, err := b.compare("Visible acknowledgements, 1 MB", peers, 1, b.procs, func(p peer, n int) bool {
		return n >= 17 && (p.name == visibly.name || p.name == sqlite.name || p.name == rawAppend.name) || n == 17 && p.name == python
	})
	if err != nil {
		return nil, err
	}
	ours := func(n int) cell { return cell{visibly.name, n} }
	for n, asked := range map[int]float64{17: 0.7, 64: 2} {
		if r.has(visibly.name, n) && r.has(sqlite.name, n) {
			b.atLeast(fmt.Sprintf("visible, 1 MB, %d processes: jsonguard to SQLite WAL FULL", n), r.over(ours(n), cell{sqlite.name, n}), asked)
		}
	}
	if r.has(visibly.name, 17) && r.has(python, 17) {
		b.atLeast("visible, 1 MB, 17 processes: jsonguard to flock + Python", r.over(ours(17), cell{python, 17}), 100)
	}
	for _, n := range []int{17, 64} {
		if r.has(visibly.name, n) {
			c := r.typical(ours(n))
			b.atMost(fmt.Sprintf("visible, 1 MB, %d processes: longest wait to the median", n), float64(c.longest)/float64(max(1, c.median)), 20)
			b.atLeast(fmt.Sprintf("visible, 1 MB, %d processes: slowest process to its fair share", n), c.share, 0.25)
		}
	}
	if r.has(rawAppend.name, 17) {
		b.guardAtMost("visible, 1 MB, 17 processes: processor time to raw append + fsync", r.cpuOver(ours(17), cell{rawAppend.name, 17}), 3.6)
	}
	if r.has(visibly.name, 17) && r.has(visibly.name, 64) {
		b.atLeast("visible, 1 MB: 64 processes to 17", r.over(ours(64), ours(17)), 0.9)
	}
	return r, nil
}

// visibleLarge leaves the rewriters one process and one change where that takes seconds.
func (b *bench) visibleLarge(picture *chart, peers []peer, megabytes int) error {
	r, err := b.compare("", peers[:2], megabytes, []int{17}, func(peer, int) bool { return true })
	if err != nil {
		return err
	}
	n := 17
	if megabytes > 10 {
		n = 1
	}
	python := peers[2].name
	slow, err := b.compare("", peers[2:3], megabytes, []int{n}, func(_ peer, n int) bool { return n == 17 })
	if err != nil {
		return err
	}
	slower, err := b.compare("", peers[3:], megabytes, []int{1}, func(peer, int) bool { return false })
	if err != nil {
		return err
	}
	for _, p := range peers {
		for _, t := range []table{r, slow, slower} {
			for _, n := range []int{1, 17} {
				if t.has(p.name, n) {
					picture.add(p.name, float64(megabytes), t.typical(cell{p.name, n}).perSecond)
				}
			}
		}
	}
	if megabytes == 10 && slow.has(python, 17) {
		slow[cell{visibly.name, 17}] = r[cell{visibly.name, 17}]
		b.atLeast("visible, 10 MB, 17 processes: jsonguard to flock + Python", slow.over(cell{visibly.name, 17}, cell{python, 17}), 200)
	}
	return nil
}
