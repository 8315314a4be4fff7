// Package watch follows a guarded file: its records, versions, writers, and what is pending, as states that a view
// shows. It takes no lock and changes nothing.
//
// It reads the file again when it changed, and at most as often as keeps it below a tenth of a processor: a file of 100 MB
// every second or two. What comes and goes between two readings is not seen: a count that shrinks and grows back within that
// time raises no alarm.
package watch

import (
	"time"

	"jsonguard/sidecar"
)

// State is what there is to see at one time. The slices of a State are never changed.
type State struct {
	Time     time.Time `json:"time"`
	File     string    `json:"file"`
	Exists   bool      `json:"exists"`
	Size     int64     `json:"size"` // bytes
	Modified time.Time `json:"modified"`

	Versions   int     `json:"versions"`   // since the watching began
	PerSecond  float64 `json:"per_second"` // versions, over the last few seconds
	Generation uint64  `json:"generation"` // of the last fold

	Counts []Count `json:"counts"`
	Grown  int64   `json:"grown"` // what Counts of the first pattern changed by since the watching began

	Live        int             `json:"live"` // writers
	Dead        int             `json:"dead"`
	Writers     []sidecar.Owner `json:"writers"`
	Pending     int             `json:"pending"`
	Conflicts   int             `json:"conflicts"`
	Quarantined int             `json:"quarantined"`
	Unguarded   bool            `json:"unguarded"`

	Problem string   `json:"problem,omitempty"` // why the counts are those of an earlier version, or the guard cannot be read
	Err     error    `json:"-"`                 // Problem as an error, nil where the file is just not there
	Alarms  []Alarm  `json:"alarms"`            // the last ones, oldest first
	Shrunk  int      `json:"shrunk"`            // how many there were
	History *History `json:"-"`
}

// Count is what a pattern leads to: how many values it matches, or, of one whose values must not shrink, the sum of their
// sizes.
type Count struct {
	Pattern string `json:"pattern"`
	N       int64  `json:"n"`
	Grow    bool   `json:"grow"`
	Seen    bool   `json:"seen"` // the pattern matched something, now or in an earlier version
}

// Alarm: the value at a place got smaller that should only grow.
type Alarm struct {
	Time   time.Time `json:"time"`
	At     string    `json:"at"` // a pointer
	Before int64     `json:"before"`
	After  int64     `json:"after"`
	Gone   bool      `json:"gone"` // there is no value any more
}

// alarmsKept is how many a State carries.
const alarmsKept = 50
