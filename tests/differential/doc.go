// Package differential draws random sequences of file system calls, on names some of which are guarded, and has one process make
// them bare and under jsonguard exec. Every return value, errno and byte read, and the tree that is left, have to be the same: a
// program that is alone must not be able to tell.
//
// Not drawn is what docs/interception.md says is different ("Alone it is as bare").
package differential
