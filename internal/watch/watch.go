package watch

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"jsonguard/sidecar"
)

// Options of Run.
type Options struct {
	Open     func() (*sidecar.Guard, error) // opens the file; again when it was gone
	Patterns []Pattern
	Note     func(text string) // what is weaker than it should be
}

// How often is looked.
const (
	sampleGap = 200 * time.Millisecond // between two States, at least
	dutyCycle = 9                      // times what a reading took is waited before the next
	look      = 2 * time.Second        // for what no event tells: a writer that died
	rateOver  = 5 * time.Second        // versions a second
)

// Run follows a file until ctx ends, and gives every State that differs from the one before to emit, the first at once. It
// returns an error where the file cannot be watched at all; one that is missing, damaged or no JSON is a State.
func Run(ctx context.Context, o Options, emit func(State)) error {
	g, err := o.Open()
	if err != nil {
		return err
	}
	w := &watcher{options: o, guard: g, emit: emit, history: newHistory(time.Now())}
	defer func() { _ = w.guard.Close() }()
	w.state = State{File: g.Target(), Counts: []Count{}, Writers: []sidecar.Owner{}, Alarms: []Alarm{}} // none is a list too
	w.news, err = newNews(g.Target(), g.GuardDir())
	if err != nil && o.Note != nil {
		o.Note("the system gives no notifications (" + err.Error() + "): the file is looked at every two seconds")
	}
	defer w.news.close()
	w.sample(ctx)

	tick := time.NewTicker(look)
	defer tick.Stop()
	due := time.NewTimer(time.Hour)
	due.Stop()
	waiting := false // for due
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.news.arrived:
			if !waiting {
				waiting = true
				due.Reset(time.Until(w.sampled.Add(sampleGap)))
			}
			continue
		case <-tick.C:
			if waiting {
				continue
			}
		case <-due.C:
			waiting = false
		}
		if w.sample(ctx); w.unread && !waiting {
			waiting = true
			due.Reset(max(sampleGap, time.Until(w.readAt)))
		}
	}
}

type watcher struct {
	options Options
	guard   *sidecar.Guard
	stale   bool // the file was gone
	news    *news
	emit    func(State)

	state   State
	history *History
	emitted bool
	sampled time.Time
	unread  bool        // there is a version that was not read yet
	readAt  time.Time   // not before
	read    os.FileInfo // of the version that was read last
	wrong   error       // with that version
	emptied time.Time   // when a version was first seen that is empty
	first   *int64      // the first count
	places  []sizes
	matched []bool // by each pattern, ever
	recent  []made
}

// made are versions that were seen at a time.
type made struct {
	at time.Time
	n  int
}

// sample looks, and emits what is new.
func (w *watcher) sample(ctx context.Context) {
	now := time.Now()
	w.sampled = now
	before := w.state
	w.reopen()
	w.news.refresh()
	versions := w.news.versions() // before the look: what comes after it is news
	damage := w.status(ctx)
	info, err := os.Stat(w.guard.Target())
	if err != nil {
		w.missing(err)
	} else if w.unread = !sameVersion(info, w.read); w.unread && !now.Before(w.readAt) {
		w.count(info)
	}
	w.state.Err, w.state.Problem = cmp.Or(damage, w.wrong), ""
	switch {
	case w.state.Err != nil:
		w.state.Problem = w.state.Err.Error()
	case !w.state.Exists:
		w.state.Problem = "the file is not there"
	}
	w.rate(now, versions)
	w.history = w.history.with(now, w.main(), versions, w.state.Size)
	w.state.History = w.history
	w.state.Time = now
	if w.emitted && same(before, w.state) {
		return
	}
	w.emitted = true
	w.emit(w.state)
}

func sameVersion(a, b os.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// status takes over what the guard directory says, and returns what is wrong with it.
func (w *watcher) status(ctx context.Context) (damage error) {
	st, err := w.guard.Status(ctx)
	s := &w.state
	s.Exists, s.Size, s.Modified = st.Exists, st.Size, st.Modified
	if err != nil {
		return err
	}
	s.Generation, s.Pending, s.Conflicts = st.Generation, st.Pending, st.Conflicts
	s.Quarantined, s.Unguarded = st.Quarantined, st.Unguarded
	s.Live, s.Dead = 0, 0
	s.Writers = st.Sidecars
	for i, o := range st.Sidecars {
		s.Writers[i].Command = program(o)
		if o.Live {
			s.Live++
		} else {
			s.Dead++
		}
	}
	sort.SliceStable(s.Writers, func(i, j int) bool { return s.Writers[i].Live && !s.Writers[j].Live })
	return nil
}

func (w *watcher) missing(err error) {
	w.read, w.unread, w.stale = nil, false, true
	w.state.Exists, w.wrong, w.emptied = false, nil, time.Time{}
	if !errors.Is(err, fs.ErrNotExist) {
		w.wrong = err
	}
}

// reopen opens the file again that was not there: a Guard keeps to the directory that it was opened in, and that may have
// been made anew.
func (w *watcher) reopen() {
	if !w.stale {
		return
	}
	if g, err := w.options.Open(); err == nil {
		_ = w.guard.Close()
		w.guard, w.stale = g, false
	}
}

// count reads the version that is there.
func (w *watcher) count(info os.FileInfo) {
	began := time.Now()
	src, err := w.guard.Published()
	if errors.Is(err, fs.ErrNotExist) {
		return // the next look says what became of it
	}
	if err == nil && len(src) == 0 && w.mayBeFilled(began) {
		return
	}
	w.read, w.unread, w.wrong, w.emptied = info, false, nil, time.Time{}
	var counts []Count
	var places []sizes
	if err == nil {
		counts, places, err = measure(src, w.guard.Format(), w.options.Patterns)
	}
	w.readAt = time.Now().Add(dutyCycle * time.Since(began))
	if err != nil {
		w.wrong = err
		return
	}
	w.note(counts)
	w.state.Counts = counts
	w.compare(places, began)
	if main := w.main(); w.first == nil {
		w.first = &main
	}
	w.state.Grown = w.main() - *w.first
}

// ErrEmpty: there is nothing in a file in which there was something.
var ErrEmpty = errors.New("the file is empty")

// emptyFor is how long an empty file may be one that is being written: a program that writes in place empties it first.
var emptyFor = 2 * time.Second

// mayBeFilled says whether an empty version is to be looked at again before it counts.
func (w *watcher) mayBeFilled(now time.Time) bool {
	if w.read == nil || w.read.Size() == 0 {
		return false // nothing would be missed
	}
	if w.emptied.IsZero() {
		w.emptied = now
	}
	w.wrong, w.readAt = ErrEmpty, now.Add(sampleGap)
	return now.Sub(w.emptied) < emptyFor
}

// note takes down which patterns have matched something.
func (w *watcher) note(counts []Count) {
	if w.matched == nil {
		w.matched = make([]bool, len(counts))
	}
	for i := range counts {
		w.matched[i] = w.matched[i] || counts[i].Seen
		counts[i].Seen = w.matched[i]
	}
}

// main is the number that the chart shows: the first count, or the size where nothing is counted.
func (w *watcher) main() int64 {
	if len(w.state.Counts) > 0 {
		return w.state.Counts[0].N
	}
	return w.state.Size
}

// compare raises alarms for what got smaller.
func (w *watcher) compare(places []sizes, now time.Time) {
	var alarms []Alarm
	for i := range w.places {
		for at, before := range w.places[i] {
			after, there := places[i][at]
			if after < before || !there {
				alarms = append(alarms, Alarm{Time: now, At: at, Before: before, After: after, Gone: !there})
			}
		}
	}
	w.places = places
	if len(alarms) == 0 {
		return
	}
	sort.Slice(alarms, func(i, j int) bool { return alarms[i].At < alarms[j].At })
	w.state.Shrunk += len(alarms)
	all := append(w.state.Alarms[:len(w.state.Alarms):len(w.state.Alarms)], alarms...)
	w.state.Alarms = all[max(0, len(all)-alarmsKept):]
}

// rate takes in how many versions there were since the last sample.
func (w *watcher) rate(now time.Time, n int) {
	if n > 0 {
		w.recent = append(w.recent, made{now, n})
	}
	for len(w.recent) > 0 && now.Sub(w.recent[0].at) > rateOver {
		w.recent = w.recent[1:]
	}
	total := 0
	for _, m := range w.recent {
		total += m.n
	}
	w.state.Versions += n
	w.state.PerSecond = float64(total) / rateOver.Seconds()
}

// program is the command of what runs under exec, or of the writer itself.
func program(o sidecar.Owner) string {
	if o.Session || o.View {
		if _, command, ok := strings.Cut(o.Command, " -- "); ok {
			return command
		}
	}
	return o.Command
}

// same says whether two States show the same, but for the time.
func same(a, b State) bool {
	writers := func(x, y sidecar.Owner) bool {
		since := x.Since.Equal(y.Since)
		x.Since, y.Since = time.Time{}, time.Time{}
		return since && x == y
	}
	return slices.Equal(a.Counts, b.Counts) && slices.EqualFunc(a.Writers, b.Writers, writers) &&
		a.Exists == b.Exists && a.Size == b.Size && a.Modified.Equal(b.Modified) && a.Versions == b.Versions &&
		a.PerSecond == b.PerSecond && a.Generation == b.Generation && a.Pending == b.Pending && a.Conflicts == b.Conflicts &&
		a.Quarantined == b.Quarantined && a.Unguarded == b.Unguarded && a.Problem == b.Problem && a.Shrunk == b.Shrunk
}
