// Package powercut takes the power away from a real filesystem while many processes write, and asks afterwards whether
// everything that was acknowledged is there, once.
//
//	go test ./tests/powercut -cuts 200 -parallel 6
//
// The filesystem (ext4, xfs) is in a file, mounted over a loop device. The cut is its shutdown ioctl without a flush of
// its log: nothing reaches the disk any more, and what was in memory only is gone with the unmount. Before it all writers
// are stopped and what they said is read: an fsync that is under way during the cut may return 0. A disk that forgets
// what it said was written is not simulated: the image lies in the page cache of the machine.
//
// The image of a cut that lost something is kept. It needs root; without, it skips.
package powercut
