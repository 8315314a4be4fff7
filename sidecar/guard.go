package sidecar

import (
	"context"
	"errors"
	"os"
	"time"

	"jsonguard/merge"
)

// Sentinels that callers test with errors.Is. The timeout of a lock is lock.ErrTimeout, text that is
// no JSON is a *merge.SyntaxError, and what the system refused unwraps to an fs error.
var (
	// ErrRejected: a change was refused (its place has the wrong type, the target was removed, a policy
	// said fail); it is in quarantine, the changes of others went on.
	ErrRejected = errors.New("change rejected")
	// ErrDamaged: the guard directory is not what a guard wrote; nothing was changed.
	ErrDamaged = errors.New("guard directory damaged")
	// ErrNotDurable: the change is visible but an fsync failed, so that a power cut may undo it.
	ErrNotDurable = errors.New("visible, not known durable")
	// ErrPending: the change is safe in a sidecar, but not yet in the target.
	ErrPending = errors.New("kept pending")
	// ErrTarget: the target is something that cannot be guarded (a directory, a device, a FIFO, a hard link).
	ErrTarget = errors.New("cannot be guarded")
	// ErrTorn: a writer left an incomplete document; it is in quarantine, the last good version stays.
	ErrTorn = errors.New("incomplete write")
)

// Error is a failed operation on a target.
type Error struct {
	Op   string // "open", "fold", "journal", …
	Path string
	Hint string // what to do; may be empty
	Err  error
}

// Options of a Guard. The zero value works.
type Options struct {
	Timeout     time.Duration // for locks; 0 means lock.DefaultTimeout (30 s), negative: try once
	Policy      *merge.Policy // nil: the default policy
	Format      *merge.Format // nil: Lines for .jsonl and .ndjson, else JSON
	FollowLinks bool          // guard a target with several hard links: the fold leaves the other names on the old version
	LockInside  bool          // leave <target>.lock alone, for tools that take its existence as held
	Command     string        // who, for sidecars and the conflict log; "" means the program's own command line
	Warn        func(string)  // told once of each promise that had to be weakened
}

// Result is what an operation did.
type Result struct {
	Generation uint64     // of the commit; 0 where no guard directory was needed
	Changed    bool       // the target has new bytes
	Folded     int        // pending changes, of anybody, that went in
	Conflicts  []Conflict // of the changes folded by this call
	Rejected   []Rejected // of the changes folded by this call
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
	Unguarded   bool      `json:"unguarded"` // the target is not the version the last fold left
}

// Owner is one sidecar and the process it belongs to.
type Owner struct {
	ID      string    `json:"id"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	Live    bool      `json:"live"`
	Pending int       `json:"pending"`
	View    bool      `json:"view"` // a private copy of exec or edit
	Damage  string    `json:"damage,omitempty"`
}

// Finding is one line of Verify.
type Finding struct {
	Check    string `json:"check"` // "target", "commit", "sidecar", "temp", "quarantine", "unguarded"
	Path     string `json:"path"`
	OK       bool   `json:"ok"`
	Detail   string `json:"detail"`
	Repaired bool   `json:"repaired,omitempty"`
}

// API (stubs while the rooms are built)

type Guard struct{}

// Open names a target. It resolves symbolic links, refuses what cannot be guarded, and makes nothing.
// The target need not exist; its directory must.
func Open(target string, o Options) (*Guard, error) { panic("todo") }

// Close folds nothing; it gives up the process's own sidecar, removed when nothing in it is pending.
func (g *Guard) Close() error { panic("todo") }

// Target is the resolved path.
func (g *Guard) Target() string { panic("todo") }

// Read returns the current version. A missing target is fs.ErrNotExist. It takes no lock. What dead
// processes left pending is folded first where that is possible without waiting.
func (g *Guard) Read(ctx context.Context) ([]byte, error) { panic("todo") }

// Update folds everything pending, runs fn on the result under the lock, and publishes what fn made of it:
// a serializable read-check-write. When fn fails, nothing of it is published.
func (g *Guard) Update(ctx context.Context, fn func(*merge.Document) error) (Result, error) {
	panic("todo")
}

// Apply does ops as one change (all or none), acknowledged when every reader sees it. Where another process
// holds the lock, the change waits in a sidecar and one fold serves everybody.
func (g *Guard) Apply(ctx context.Context, ops ...merge.Op) (Result, error) { panic("todo") }

// Journal appends ops as one change to the process's own sidecar, acknowledged when that is on disk. It is
// visible to readers within VisibleWithin while the process lives, and with the next use after it died.
func (g *Guard) Journal(ctx context.Context, ops ...merge.Op) error { panic("todo") }

// Flush folds what this process journaled and everything else that is pending.
func (g *Guard) Flush(ctx context.Context) (Result, error) { panic("todo") }

// Recover folds everything that is pending, adopts what dead exec and edit runs left in their copies, and removes
// what is not needed any more. With salvage, torn documents in quarantine give their complete leading records as
// additions only.
func (g *Guard) Recover(ctx context.Context, salvage bool) (Result, []Salvaged, error) { panic("todo") }

// Salvaged is a torn document whose complete part was folded.
type Salvaged struct {
	File string `json:"file"` // name in quarantine/
	Kept int64  `json:"kept"` // bytes
	Cut  int64  `json:"cut"`
}

// Import folds a base → ours change that was made elsewhere (a file edited by hand, the output of jq).
func (g *Guard) Import(ctx context.Context, base, ours []byte) (Result, error) { panic("todo") }

// View makes a private copy of the current version for a program that reads and writes files. The copy, its base
// and what was submitted are on disk in the guard directory: whoever is killed, the next use folds it.
func (g *Guard) View(ctx context.Context) (*View, error) { panic("todo") }

// View is a private copy of the target.
type View struct{}

// Path of the copy: same base name as the target, alone in its directory.
func (v *View) Path() string { panic("todo") }

// Owner is an open file whose lock says that the view is in use: give it to the child process (ExtraFiles) so
// that the view counts as live while any of them lives.
func (v *View) Owner() *os.File { panic("todo") }

// Submit takes what the copy holds now, journals it when it is complete and differs from what was submitted
// before, and folds. ErrTorn: it does not parse (nothing is done; it may be in the middle of a write).
// ErrPending (wrapping lock.ErrTimeout): journaled, but the lock was not to be had.
func (v *View) Submit(ctx context.Context) (Result, error) { panic("todo") }

// Close submits once more, quarantines a copy that does not parse (ErrTorn), reports a copy that was removed
// (conflict log), and removes the view when nothing of it is pending.
func (v *View) Close(ctx context.Context) (Result, error) { panic("todo") }

func (g *Guard) Status(ctx context.Context) (Status, error)                 { panic("todo") }
func (g *Guard) Verify(ctx context.Context, repair bool) ([]Finding, error) { panic("todo") }
func (g *Guard) Clean(ctx context.Context) (removed []string, err error)    { panic("todo") }
func (g *Guard) Conflicts(ctx context.Context) ([]Conflict, error)          { panic("todo") }
func (e *Error) Error() string                                              { panic("todo") }
func (e *Error) Unwrap() error                                              { return e.Err }
