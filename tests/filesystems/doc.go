// Package filesystems runs the many processes of tests/concurrency on every filesystem that can be had here: ext4, xfs,
// btrfs, tmpfs, overlay, and a single file that is a mount point. It needs root, to mount them; without, it skips.
//
// What cannot be mounted here (NFS, SMB, 9P and other network filesystems) is untested; `jsonguard doctor DIR` tries what
// such a one keeps.
package filesystems
