package sidecar

import (
	"time"

	"jsonguard/merge"
)

// Options of a Guard. The zero value works.
type Options struct {
	Timeout     time.Duration // for locks; 0 means lock.DefaultTimeout (30 s), negative: try once
	Policy      *merge.Policy // nil: that of PolicyFile; a policy given here is all there is
	PolicyFile  string        // "": the nearest jsonguard.json, beside the target or above it, that names it
	History     *History      // nil: as the policy file says, and without one none; given here it is all there is
	Format      *merge.Format // nil: Lines for .jsonl and .ndjson, else JSON
	FollowLinks bool          // guard a target with several hard links: the fold leaves the other names on the old version
	LockInside  bool          // leave <target>.lock alone, for tools that take its existence as held; the policy can say so, too
	Command     string        // who, for sidecars and the conflict log; "" means the program's own command line
	Warn        func(string)  // told once of each promise that had to be weakened
	// Held says whether a process that waits for this one holds the lock file of that path. Then the fold happens under
	// its hold: taking turns with it would never end. nil: none.
	Held func(lockFile string) bool
}

// Result is what an operation did.
type Result struct {
	Generation uint64     // of the commit; 0 where no guard directory was needed
	Changed    bool       // the target has new bytes
	Folded     int        // pending changes, of anybody, that went in
	Conflicts  []Conflict // of the changes folded by this call
	Rejected   []Rejected // of the changes folded by this call
	Torn       []string   // incomplete copies of dead processes that went to quarantine
	Published  *Published // set where the target is one pending version now, byte for byte
}

// Published is a file that the target was replaced by.
type Published struct {
	Sidecar string // whose version is in it
	Inode   uint64
	Size    int64
	MTime   time.Time
}

// Conflict is a line of the conflict log: a value that lost, or was kept against a deletion.
type Conflict struct {
	Time       time.Time `json:"time"`
	Generation uint64    `json:"generation"`
	Sidecar    string    `json:"sidecar,omitempty"` // whose change; empty: the folder's own
	Seq        uint64    `json:"seq,omitempty"`
	Host       string    `json:"host"`
	PID        int       `json:"pid"`
	Command    string    `json:"command"`
	At         string    `json:"pointer"`
	Base       *string   `json:"base"` // JSON text; null: missing
	Ours       *string   `json:"ours"`
	Theirs     *string   `json:"theirs"`
	Taken      string    `json:"taken"` // "ours", "theirs", "both"
	Refused    bool      `json:"refused,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// Rejected names a change in quarantine.
type Rejected struct {
	Sidecar string `json:"sidecar"`
	Seq     uint64 `json:"seq"`
	Reason  string `json:"reason"`
	File    string `json:"file"` // name in quarantine/
}

// Status describes a target and its guard directory as they are now.
type Status struct {
	Target      string    `json:"target"`
	Exists      bool      `json:"exists"`
	Size        int64     `json:"size"`
	Modified    time.Time `json:"modified"`
	Generation  uint64    `json:"generation"`
	Settled     bool      `json:"settled"` // the last fold is known durable
	Sidecars    []Owner   `json:"sidecars"`
	Pending     int       `json:"pending"` // changes not yet in the target
	Conflicts   int       `json:"conflicts"`
	Quarantined int       `json:"quarantined"`
	Versions    int       `json:"versions"`  // that are kept, within the bounds, and can be restored
	Unguarded   bool      `json:"unguarded"` // the target is not the version the last fold left
}

// Owner is one sidecar, or Session, and the process it belongs to.
type Owner struct {
	ID      string    `json:"id"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	Live    bool      `json:"live"`
	Pending int       `json:"pending"`
	View    bool      `json:"view"`    // a private copy of exec or edit
	Session bool      `json:"session"` // exec, which intercepts what programs write
	Damage  string    `json:"damage,omitempty"`
}

// Finding is one line of Verify.
type Finding struct {
	// Check is "target", "commit", "unguarded", "sidecar", "history", "conflicts", "quarantine", "temp" or "foreign".
	Check    string `json:"check"`
	Path     string `json:"path"`
	OK       bool   `json:"ok"`
	Detail   string `json:"detail"`
	Repaired bool   `json:"repaired,omitempty"`
}
