// Package differential draws random sequences of file system calls, on names some of which are guarded, and has one process make
// them bare and under jsonguard exec. Every return value, errno and byte read, and the tree that is left, have to be the same: a
// program that is alone must not be able to tell.
//
// Not drawn is what docs/GUARANTEES.md says is different: while a program has a guarded file open for writing, what others see
// of it; lstat(2) behind a close; RENAME_EXCHANGE; the number of an inode, where a fold has replaced it.
package differential
