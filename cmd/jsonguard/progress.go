package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress draws a bar on a terminal while something takes long. On anything else it says nothing.
type progress struct {
	w     io.Writer // nil: nothing is drawn
	what  string
	began time.Time
	drawn time.Time
	width int // of what was drawn last

	from, to float64 // of the whole is the part that is being done; 0, 0: all of it
}

const (
	progressAfter = time.Second // what is over by then needs no bar
	progressEvery = 100 * time.Millisecond
	progressCells = 30
)

func (a *app) progressBar(what string) *progress {
	p := &progress{what: what, began: time.Now()}
	if !a.quiet && !a.json && isTerminal(a.stderr) {
		p.w = a.stderr
	}
	return p
}

// part says that what is done from now on is the work between from and to, of 1.
func (p *progress) part(from, to float64) { p.from, p.to = from, to }

// at says how much of the part is done, from 0 to 1.
func (p *progress) at(done float64) {
	if p.w == nil {
		return
	}
	if p.to > 0 {
		done = p.from + min(max(done, 0), 1)*(p.to-p.from)
	}
	now := time.Now()
	if now.Sub(p.began) < progressAfter || now.Sub(p.drawn) < progressEvery {
		return
	}
	p.drawn = now
	done = min(max(done, 0), 1)
	full := int(done * progressCells)
	left := ""
	if done > 0.02 {
		rest := time.Duration(float64(now.Sub(p.began)) * (1 - done) / done)
		left = fmt.Sprintf(", %s left", rest.Round(time.Second))
	}
	text := fmt.Sprintf("%s [%s%s] %3.0f %%%s", p.what, strings.Repeat("#", full), strings.Repeat(".", progressCells-full), 100*done, left)
	fmt.Fprintf(p.w, "\r%-*s", p.width, text)
	p.width = len(text)
}

// done takes the bar away.
func (p *progress) done() {
	if p.w != nil && !p.drawn.IsZero() {
		fmt.Fprintf(p.w, "\r%*s\r", p.width, "")
	}
	p.w = nil
}
