package watch

import "time"

// History is the course of a few numbers over the whole time of watching, in a bounded number of steps: when they are
// used up, each two become one. A step keeps the lowest value of its time, so that a dip never vanishes from a chart.
type History struct {
	Began time.Time     `json:"began"`
	Step  time.Duration `json:"step"` // nanoseconds
	Steps []Step        `json:"steps"`
	Last  int64         `json:"last"` // the newest count, which holds until there is another
}

// Step is one step of a History.
type Step struct {
	Count    int64 `json:"count"`    // the lowest
	Versions int   `json:"versions"` // made in it
	Size     int64 `json:"size"`     // the last
}

const (
	historySteps = 240
	firstStep    = 500 * time.Millisecond
)

func newHistory(now time.Time) *History { return &History{Began: now, Step: firstStep} }

// with returns a History that goes on to now; h stays as it is, for those who look at it.
func (h *History) with(now time.Time, count int64, versions int, size int64) *History {
	out := &History{Began: h.Began, Step: h.Step, Last: count, Steps: append(make([]Step, 0, historySteps), h.Steps...)}
	place := func() int { return int(max(0, now.Sub(out.Began)) / out.Step) }
	for place() >= historySteps {
		out.halve()
	}
	at, held := place(), h.Last
	if len(h.Steps) == 0 {
		held = count
	}
	for len(out.Steps) <= at { // while nothing happened nothing changed
		next := Step{Count: count, Size: size}
		if last := len(out.Steps) - 1; last >= 0 && len(out.Steps) < at {
			next.Count, next.Size = held, out.Steps[last].Size
		}
		out.Steps = append(out.Steps, next)
	}
	s := &out.Steps[at]
	s.Count, s.Size = min(s.Count, count), size
	s.Versions += versions
	return out
}

func (h *History) halve() {
	for i := 0; i < len(h.Steps); i += 2 {
		s := h.Steps[i]
		if i+1 < len(h.Steps) {
			next := h.Steps[i+1]
			s = Step{Count: min(s.Count, next.Count), Versions: s.Versions + next.Versions, Size: next.Size}
		}
		h.Steps[i/2] = s
	}
	h.Steps = h.Steps[:(len(h.Steps)+1)/2]
	h.Step *= 2
}
