package main

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"jsonguard/internal/watch"
	"jsonguard/internal/watch/screen"
)

// watchView shows states.
type watchView interface {
	show(watch.State)
	tick(time.Time) // four times a second
	end()
}

// lineView prints a line for each change, at most one a second, and alarms at once.
type lineView struct {
	a       *app
	waiting *watch.State // not printed yet
	printed time.Time
	alarms  int
	problem string
}

const lineGap = time.Second

func (v *lineView) show(s watch.State) {
	v.waiting = &s
	if s.Shrunk > v.alarms || s.Problem != v.problem || s.Time.Sub(v.printed) >= lineGap {
		v.print()
	}
}

func (v *lineView) tick(now time.Time) {
	if v.waiting != nil && now.Sub(v.printed) >= lineGap {
		v.print()
	}
}

func (v *lineView) end() {
	if v.waiting != nil {
		v.print()
	}
}

func (v *lineView) print() {
	s := *v.waiting
	v.waiting, v.printed = nil, s.Time
	fresh := s.Alarms[max(0, len(s.Alarms)-(s.Shrunk-v.alarms)):]
	changed := s.Problem != v.problem
	v.alarms, v.problem = s.Shrunk, s.Problem
	if v.a.json {
		v.a.println(string(jsonText(s)))
		return
	}
	for _, alarm := range fresh {
		v.a.println(screen.AlarmText(alarm))
	}
	if v.a.quiet {
		return
	}
	if changed && s.Problem != "" {
		v.a.printf("%s  %s\n", s.Time.Local().Format(time.TimeOnly), screen.Printable(s.Problem))
		return
	}
	v.a.println(screen.Line(s))
}

// screenView redraws a page on the terminal.
type screenView struct {
	a      *app
	out    *os.File
	footer string
	state  *watch.State
	drawn  time.Time
	width  int
	height int
}

func newScreenView(a *app, url string) *screenView {
	out, _ := a.stdout.w.(*os.File)
	footer := "Ctrl-C ends it"
	if url != "" {
		footer += "  ·  " + url
	}
	v := &screenView{a: a, out: out, footer: " " + footer}
	v.enter()
	return v
}

// enter takes another screen, without cursor and wrapping; leave gives the terminal back as it was.
func (v *screenView) enter() { v.write("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J") }

func (v *screenView) leave() { v.write("\x1b[?7h\x1b[?25h\x1b[?1049l") }

func (v *screenView) write(text string) { _, _ = v.a.stdout.Write([]byte(text)) } // that it failed is known to follow

func (v *screenView) show(s watch.State) {
	v.state = &s
	v.draw(time.Now())
}

// tick redraws once a second, because times go on, and at once when the window changed its size.
func (v *screenView) tick(now time.Time) {
	width, height := terminalSize(v.out)
	if v.state != nil && (now.Sub(v.drawn) >= time.Second || width != v.width || height != v.height) {
		v.draw(now)
	}
}

func (v *screenView) draw(now time.Time) {
	width, height := terminalSize(v.out)
	clear := ""
	if width != v.width || height != v.height {
		clear = "\x1b[2J"
	}
	v.drawn, v.width, v.height = now, width, height
	v.write(clear + screen.Redraw(screen.Frame(*v.state, screen.Options{
		Width: width, Height: height, Now: now, Footer: v.footer, Colour: coloured(v.a.stdout),
	})))
}

func terminalSize(out *os.File) (width, height int) {
	if out != nil {
		if w, h, err := term.GetSize(int(out.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

// end leaves the last words on the terminal.
func (v *screenView) end() {
	v.leave()
	if v.state == nil {
		return
	}
	for _, alarm := range v.state.Alarms {
		v.a.println(paint(v.a.stdout, "red", screen.AlarmText(alarm)))
	}
	v.a.println(filepath.Base(v.state.File) + ": " + screen.Line(*v.state))
}
