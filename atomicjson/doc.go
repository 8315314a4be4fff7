// Package atomicjson reads and updates a JSON file that several processes share.
//
// For a program that wants to change a file and be done:
//
//	err := atomicjson.Update(ctx, "results.json", func(d *atomicjson.Document) error {
//		return d.Add("/models/gpt/total_tests", 1)
//	})
//
// It promises that a reader of the file sees one complete version at any moment; that when Update returns nil the
// change is in the file and on disk; that Updates of any number of processes, and what `jsonguard` does, happen one
// after the other, none losing another's change; and that bytes nobody changed stay as they were: key order,
// indentation, number literals, escapes, line ends.
//
// It does not keep out a program that writes the file without any lock: run such a program under `jsonguard exec`.
// A failed Update changed nothing, except for errors that say "not known durable" (sidecar.ErrNotDurable), where the
// change is visible but a power cut may undo it.
//
// Files whose names end in .jsonl or .ndjson are JSON Lines: as a Document they are an array of their lines.
//
// A policy file (jsonguard.json) beside the file or above it says how places merge and names are spelled: it counts here as
// in every other use of the file, and one that is wrong is an error (sidecar.ErrPolicy) before anything is done.
//
// What is pending of other processes is folded by package sidecar, whose Guard this package opens for each call; a
// program that makes many changes keeps a Guard open instead.
package atomicjson
