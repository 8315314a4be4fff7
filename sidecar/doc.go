// Package sidecar keeps what many processes change in one JSON file: a change waits in a file beside the target, its sidecar, until
// somebody folds all that wait into the target with one rewrite.
//
// A program opens a Guard, changes the file through it as often as it likes, and closes it:
//
//	g, err := sidecar.Open("results.json", sidecar.Options{})
//	…
//	defer g.Close()
//	_, err = g.Apply(ctx, merge.Op{Kind: merge.OpIncr, At: "/total", Value: merge.Raw("1")})
//
// For a single change package atomicjson is simpler: it opens a Guard for each call. There are four ways to change the target:
//
//   - Apply does operations that need no base (set, incr, append, …). When it returns every reader sees them, and they are on disk.
//   - Journal is Apply that waits for no lock: when it returns they are on disk, and readers see them within VisibleWithin.
//   - Update runs a function on the current version while nobody else changes it: a read-check-write.
//   - Import merges a version that was made elsewhere, from a version that is known.
//
// It promises that a change which was acknowledged is in the target, in a sidecar or, refused, in quarantine, whatever is killed and
// when; that it is folded exactly once, also through a power loss; that changes to different places never cost each other anything;
// and that a dead process blocks nobody. What is left of one is folded by the next use of the file, whoever's that is.
//
// It does not keep out a program that writes the target without any lock, and it promises no more than the disk keeps: see
// docs/GUARANTEES.md, and docs/fold.md for the order of the steps. Errors are *Error and unwrap to the sentinels below. After
// ErrPending a change must not be repeated: it will be folded; after ErrNotDurable look before you repeat it.
//
// View, Session and Scratch are for `jsonguard exec`, which guards programs that nobody changes.
package sidecar
