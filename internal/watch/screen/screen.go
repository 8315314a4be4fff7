// Package screen draws a State of package watch as a page of text for a terminal.
package screen

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"jsonguard/internal/watch"
)

// Options of a frame.
type Options struct {
	Width, Height int // of the terminal, in characters
	Colour        bool
	Now           time.Time
	Footer        string // the last line
}

// The least that a frame is drawn for; a smaller terminal shows a part of it.
const (
	leastWidth  = 40
	leastHeight = 10
)

// Frame draws s. It has at most Height lines, none longer than Width.
func Frame(s watch.State, o Options) string {
	f := frame{Options: o, state: s}
	f.Width, f.Height = max(f.Width, leastWidth), max(f.Height, leastHeight)
	f.head()
	f.alarms()
	f.figures()
	rest := f.Height - len(f.lines) - 1
	writers := min(len(s.Writers), max(3, rest/3))
	f.chart(rest - writers - 4)
	f.versions()
	f.writers(f.Height - len(f.lines) - 2)
	for len(f.lines) < f.Height-1 {
		f.add()
	}
	f.lines = f.lines[:f.Height-1]
	f.add(part{o.Footer, dim})
	return strings.Join(f.lines[:min(len(f.lines), max(1, o.Height))], "\n")
}

type frame struct {
	Options
	state watch.State
	lines []string
}

// part is a piece of a line and how it looks.
type part struct{ text, look string }

// Looks, as SGR parameters.
const (
	dim    = "2"
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	loud   = "1;97;41"
)

// add puts a line together, cut to the width.
func (f *frame) add(parts ...part) {
	var line strings.Builder
	room := f.Width
	for _, p := range parts {
		text := p.text
		if n := utf8.RuneCountInString(text); n > room {
			text = cut(text, room)
		}
		room -= utf8.RuneCountInString(text)
		if f.Colour && p.look != "" && strings.TrimSpace(text) != "" || f.Colour && p.look == loud {
			text = "\x1b[" + p.look + "m" + text + "\x1b[0m"
		}
		line.WriteString(text)
	}
	f.lines = append(f.lines, line.String())
}

func cut(text string, room int) string {
	if room <= 1 {
		return ""
	}
	return string([]rune(text)[:room-1]) + "…"
}

// between fills a line so that right ends at the margin.
func (f *frame) between(left []part, right part) {
	used := utf8.RuneCountInString(right.text)
	for _, p := range left {
		used += utf8.RuneCountInString(p.text)
	}
	f.add(append(left, part{strings.Repeat(" ", max(1, f.Width-used-1)), ""}, right)...)
}

func (f *frame) head() {
	s := f.state
	dot := part{" ● ", green}
	switch {
	case !s.Exists:
		dot = part{" ● ", red}
	case s.Problem != "":
		dot = part{" ● ", yellow}
	}
	began := s.Time
	if s.History != nil {
		began = s.History.Began
	}
	f.between([]part{dot, {Printable(filepath.Base(s.File)), bold}}, part{"watched for " + Ago(f.Now.Sub(began)), dim})
	f.add(part{"   " + Printable(s.File), dim})
	switch {
	case s.Problem != "":
		f.add(part{"   " + Printable(s.Problem), yellow})
	case s.Unguarded:
		f.add(part{"   somebody without jsonguard changed it after the last fold", yellow})
	default:
		f.add()
	}
}

// alarms are the loud lines: the newest first.
func (f *frame) alarms() {
	const most = 4
	for i := len(f.state.Alarms) - 1; i >= max(0, len(f.state.Alarms)-most); i-- {
		text := " " + AlarmText(f.state.Alarms[i])
		f.add(part{text + strings.Repeat(" ", max(0, f.Width-utf8.RuneCountInString(text))), loud})
	}
	if more := f.state.Shrunk - most; more > 0 {
		f.add(part{fmt.Sprintf("   and %s before", plural(more, "time")), red})
	}
	if f.state.Shrunk > 0 {
		f.add()
	}
}

// AlarmText is an alarm as a sentence.
func AlarmText(a watch.Alarm) string {
	at, when := Printable(a.At), a.Time.Local().Format(time.TimeOnly)
	if at == "" {
		at = "the document"
	}
	if a.Gone {
		return fmt.Sprintf("%s  %s IS GONE: it had %s", when, at, Number(a.Before))
	}
	return fmt.Sprintf("%s  %s SHRANK from %s to %s: %s lost", when, at, Number(a.Before), Number(a.After), Number(a.Before-a.After))
}

// figures are the numbers of now.
func (f *frame) figures() {
	s := f.state
	labels, values := []part{}, []part{}
	column := func(label, value, more string, look string) {
		width := max(utf8.RuneCountInString(label), utf8.RuneCountInString(value+more)) + 3
		labels = append(labels, part{pad("   "+label, width+3), dim})
		values = append(values, part{"   " + value, look}, part{pad(more, width-utf8.RuneCountInString(value)), dim})
	}
	for i, c := range s.Counts {
		more := ""
		if i == 0 && s.Grown != 0 {
			more = fmt.Sprintf(" %+d", s.Grown)
		}
		label := c.Pattern
		if c.Grow {
			label = "in " + label
		}
		column(Printable(label), Number(c.N), more, bold)
	}
	if len(s.Counts) == 0 {
		column("size", Bytes(s.Size), "", bold)
	} else {
		column("size", Bytes(s.Size), "", "")
	}
	rate := fmt.Sprintf("%.0f", s.PerSecond)
	if s.PerSecond < 10 {
		rate = fmt.Sprintf("%.1f", s.PerSecond)
	}
	column("versions/s", rate, fmt.Sprintf(" of %s", Number(int64(s.Versions))), "")
	column("pending", Number(int64(s.Pending)), "", coloured(s.Pending > 0, cyan))
	column("conflicts", Number(int64(s.Conflicts)), "", coloured(s.Conflicts > 0, yellow))
	if s.Quarantined > 0 {
		column("quarantined", Number(int64(s.Quarantined)), "", red)
	}
	f.add(labels...)
	f.add(values...)
	f.add()
}

func coloured(is bool, look string) string {
	if is {
		return look
	}
	return ""
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// chart draws the first count, or the size, over the whole time, in that many rows.
func (f *frame) chart(rows int) {
	if f.state.History == nil || rows < 3 {
		return
	}
	const most = 12
	rows = min(rows-1, most)
	name := Bytes
	if len(f.state.Counts) > 0 {
		name = Number
	}
	points := f.columns(f.Width-14, func(steps []watch.Step) int64 {
		least := steps[0].Count
		for _, s := range steps {
			least = min(least, s.Count)
		}
		return least
	})
	if len(points) > 0 {
		points[len(points)-1] = f.state.History.Last // the newest, not the lowest of its step
	}
	low, high := bounds(points)
	for row := rows - 1; row >= 0; row-- {
		label := ""
		switch row {
		case rows - 1:
			label = name(high)
		case 0:
			label = name(low)
		}
		f.add(part{fmt.Sprintf("%10s ┤", cut10(label)), dim}, part{bar(points, low, high, row, rows), cyan})
	}
	f.add(part{strings.Repeat(" ", 11) + "└" + strings.Repeat("─", len(points)), dim})
	began := f.state.History.Began.Local().Format(time.TimeOnly)
	now := f.Now.Local().Format(time.TimeOnly)
	f.add(part{strings.Repeat(" ", 12) + began + strings.Repeat(" ", max(1, len(points)-len(began)-len(now))) + now, dim})
}

func cut10(label string) string {
	if utf8.RuneCountInString(label) > 10 {
		return cut(label, 10)
	}
	return label
}

// versions is one row: how many there were at each time.
func (f *frame) versions() {
	if f.state.History == nil {
		return
	}
	points := f.columns(f.Width-14, func(steps []watch.Step) int64 {
		most := 0
		for _, s := range steps {
			most = max(most, s.Versions)
		}
		return int64(most)
	})
	_, high := bounds(points)
	f.add(part{"  versions  ", dim}, part{bar(points, 0, high, 0, 1), green})
}

// columns divides the time that was watched into n equal parts, and makes one value of the steps in each. Where nothing
// happened since the last step, its numbers still hold, and there were no versions.
func (f *frame) columns(n int, value func([]watch.Step) int64) []int64 {
	h := f.state.History
	elapsed := f.Now.Sub(h.Began)
	const least = 30 * time.Second // one step would else fill the whole width
	total := max(elapsed, least)
	out := make([]int64, 0, max(0, n))
	for c := range n {
		from, to := time.Duration(c)*total/time.Duration(n), time.Duration(c+1)*total/time.Duration(n)
		if from > elapsed {
			break
		}
		first, last := int(from/h.Step), int((to-1)/h.Step)
		end := len(h.Steps) - 1
		if first > end {
			out = append(out, value([]watch.Step{{Count: h.Last, Size: h.Steps[end].Size}}))
			continue
		}
		out = append(out, value(h.Steps[first:min(last, end)+1]))
	}
	return out
}

// bounds of a chart: from nothing, unless all is near the top.
func bounds(points []int64) (low, high int64) {
	if len(points) == 0 {
		return 0, 1
	}
	low, high = points[0], points[0]
	for _, p := range points {
		low, high = min(low, p), max(high, p)
	}
	if low < 0 {
		return low, max(high, low+1)
	}
	if low <= high/2 || low == high {
		return 0, max(high, 1)
	}
	return max(0, low-(high-low)/4), high
}

var eighths = []rune(" ▁▂▃▄▅▆▇█")

// bar draws one row of a bar chart with so many rows, the lowest is 0.
func bar(points []int64, low, high int64, row, rows int) string {
	var b strings.Builder
	for _, p := range points {
		filled := int(float64(p-low) / float64(max(1, high-low)) * float64(rows*8))
		if p > low && filled == 0 {
			filled = 1 // there is something
		}
		b.WriteRune(eighths[min(8, max(0, filled-row*8))])
	}
	return b.String()
}

// writers lists those for whom there is room.
func (f *frame) writers(room int) {
	s := f.state
	f.add()
	head := []part{{"   writers  ", dim}, {fmt.Sprintf("%d live", s.Live), coloured(s.Live > 0, green)}}
	if s.Dead > 0 {
		head = append(head, part{fmt.Sprintf(", %d dead", s.Dead), red})
	}
	f.between(head, part{fmt.Sprintf("generation %d", s.Generation), dim})
	room--
	for i, w := range s.Writers {
		if i >= room-1 && len(s.Writers) > room {
			f.add(part{fmt.Sprintf("     and %d more", len(s.Writers)-i), dim})
			return
		}
		mark, look := "     ● ", green
		if !w.Live {
			mark, look = "     ✗ ", red
		}
		who := w.ID
		if w.Host != "" {
			who = fmt.Sprintf("%s@%d", w.Host, w.PID)
		}
		pending := ""
		if w.Pending > 0 {
			pending = fmt.Sprintf("%d pending  ", w.Pending)
		}
		f.add(part{mark, look}, part{pad(Printable(who), 20) + " ", ""}, part{pad(Ago(f.Now.Sub(w.Since)), 8), dim}, part{pending, cyan}, part{Printable(w.Command), ""})
	}
}

// Number writes n with commas.
func Number(n int64) string {
	text := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// Bytes writes a size as people read it.
func Bytes(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// Ago writes how long something has lasted.
func Ago(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Printable takes out what a terminal would obey.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

// Line is s on one line, for where there is no screen.
func Line(s watch.State) string {
	parts := []string{s.Time.Local().Format(time.TimeOnly)}
	for i, c := range s.Counts {
		text := Number(c.N)
		if i == 0 && s.Grown != 0 {
			text += fmt.Sprintf(" (%+d)", s.Grown)
		}
		if c.Grow {
			text += " in"
		}
		parts = append(parts, text+" "+Printable(c.Pattern))
	}
	parts = append(parts, Bytes(s.Size), fmt.Sprintf("%s (%.1f/s)", plural(s.Versions, "version"), s.PerSecond),
		fmt.Sprintf("%d live", s.Live))
	if s.Dead > 0 {
		parts = append(parts, fmt.Sprintf("%d dead", s.Dead))
	}
	parts = append(parts, fmt.Sprintf("%d pending", s.Pending), plural(s.Conflicts, "conflict"))
	if s.Quarantined > 0 {
		parts = append(parts, fmt.Sprintf("%d quarantined", s.Quarantined))
	}
	return strings.Join(parts, "  ")
}

// Redraw makes a frame overwrite the one before it on a terminal, whatever that does with line ends.
func Redraw(frame string) string {
	return "\x1b[H" + strings.ReplaceAll(frame, "\n", "\x1b[K\x1b[E") + "\x1b[K\x1b[J"
}
