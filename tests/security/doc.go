// Package security plays a hostile or careless neighbour in a directory that several people share: whatever can be put in
// the place of a file of the guard directory (symbolic links, FIFOs, endless files, other people's files), journals and
// commit records that name other files, policies that reach for them. The real command is run there; nobody's file is read,
// changed or removed through it, nothing hangs, nothing is read into memory that has no end.
//
//	go test ./tests/security
//
// It is no proof against the owner of the target, who may replace it anyway.
package security
