package main

import "fmt"

// figure is one number that is asked for, and what this run measured.
type figure struct {
	what     string
	unit     string // "×" of two numbers of this run, or what else it is
	asked    float64
	atMost   bool // else at least
	guard    bool // of -check: asked is what only a much slower program misses
	measured float64
}

func (f figure) keeps(bound float64) bool {
	if f.atMost {
		return f.measured <= bound
	}
	return f.measured >= bound
}

func (f figure) sign() string {
	if f.atMost {
		return "≤"
	}
	return "≥"
}

func (f figure) number(v float64) string {
	digits := 2
	if v >= 20 {
		digits = 0
	}
	return fmt.Sprintf("%.*f %s", digits, v, f.unit)
}

func (f figure) verdict() string {
	if f.keeps(f.asked) {
		return "ok"
	}
	return "missed"
}

// atLeast and atMost note a figure.
func (b *bench) atLeast(what string, measured, asked float64) {
	b.figures = append(b.figures, figure{what: what, unit: "×", asked: asked, measured: measured})
}

func (b *bench) atMost(what string, measured, asked float64) {
	b.figures = append(b.figures, figure{what: what, unit: "×", asked: asked, measured: measured, atMost: true})
}

// guardAtMost and guardAtLeast note what -check looks at. A bound lies between what is usual and what is measured at half the
// speed. Most are of processor time, which is much the same on a machine on which much else runs.
func (b *bench) guardAtMost(what string, measured, bound float64) {
	if b.check {
		b.figures = append(b.figures, figure{what: what, unit: "×", asked: bound, guard: true, measured: measured, atMost: true})
	}
}

func (b *bench) guardAtLeast(what string, measured, bound float64) {
	if b.check {
		b.figures = append(b.figures, figure{what: what, unit: "×", asked: bound, guard: true, measured: measured})
	}
}

// report prints the table of all figures.
func (b *bench) report() {
	fmt.Printf("\n%-66s %12s %12s\n", "figure", "asked", "measured")
	for _, f := range b.figures {
		fmt.Printf("%-66s %12s %12s   %s\n", f.what, f.sign()+" "+f.number(f.asked), f.number(f.measured), f.verdict())
	}
	for _, s := range b.skipped {
		fmt.Println("skipped:", s)
	}
}

// guard says which figures are so far off that something was broken.
func (b *bench) guard() error {
	fmt.Printf("\n%-66s %12s %12s\n", "guard", "bound", "measured")
	rows := 0
	for _, f := range b.figures {
		if !f.guard {
			continue
		}
		rows++
		mark := "ok"
		if !f.keeps(f.asked) {
			mark = "MISSED"
		}
		fmt.Printf("%-66s %12s %12s   %s\n", f.what, f.sign()+" "+f.number(f.asked), f.number(f.measured), mark)
	}
	missed := b.beyond(b.figures)
	switch {
	case b.halved && missed < rows:
		return fmt.Errorf("at half the speed, %d of %d figures keep their bound: they would not notice", rows-missed, rows)
	case !b.halved && missed > 0:
		return fmt.Errorf("%d figures are each time beyond a bound that leaves room: something became much slower", missed)
	}
	return nil
}

// beyond counts the figures of -check that miss their bound.
func (b *bench) beyond(figures []figure) (n int) {
	for _, f := range figures {
		if f.guard && !f.keeps(f.asked) {
			n++
		}
	}
	return n
}
