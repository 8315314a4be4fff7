package watch

import (
	"encoding/json"
	"fmt"
)

// withHistory is a State with its History, in milliseconds.
type withHistory struct {
	State
	Began int64      `json:"began"`
	Step  int64      `json:"step"`
	Last  int64      `json:"last"`
	Steps [][3]int64 `json:"steps"` // count, versions, size
}

// WithHistory is s as a JSON text of one line, with its History, from which a chart is drawn.
func (s State) WithHistory() []byte {
	out := withHistory{State: s, Steps: [][3]int64{}}
	if h := s.History; h != nil {
		out.Began, out.Step, out.Last = h.Began.UnixMilli(), h.Step.Milliseconds(), h.Last
		for _, step := range h.Steps {
			out.Steps = append(out.Steps, [3]int64{step.Count, int64(step.Versions), step.Size})
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic(fmt.Sprintf("encode a state: %v", err)) // it has nothing that cannot be
	}
	return text
}
