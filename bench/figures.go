package main

import "fmt"

// figure is one number that is asked for, and what this run measured.
type figure struct {
	what     string
	unit     string // "×" of two numbers of this run, or what else it is
	asked    float64
	atMost   bool    // else at least
	guard    float64 // bound of -check: what only a much slower program misses; 0: not checked
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

// atLeast and atMost note a figure. guard is the bound of -check.
func (b *bench) atLeast(what string, measured, asked, guard float64) {
	b.figures = append(b.figures, figure{what: what, unit: "×", asked: asked, guard: guard, measured: measured})
}

func (b *bench) atMost(what string, measured, asked, guard float64) {
	b.figures = append(b.figures, figure{what: what, unit: "×", asked: asked, guard: guard, measured: measured, atMost: true})
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
	for _, f := range b.figures {
		if f.guard == 0 {
			continue
		}
		mark := "ok"
		if !f.keeps(f.guard) {
			mark = "MISSED"
		}
		fmt.Printf("%-66s %12s %12s   %s\n", f.what, f.sign()+" "+f.number(f.guard), f.number(f.measured), mark)
	}
	if missed := b.beyond(b.figures); missed > 0 {
		return fmt.Errorf("%d figures are each time beyond a bound that leaves room: something became much slower", missed)
	}
	return nil
}

// beyond counts the figures that miss their bound.
func (b *bench) beyond(figures []figure) (n int) {
	for _, f := range figures {
		if f.guard != 0 && !f.keeps(f.guard) {
			n++
		}
	}
	return n
}
