package probe

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"jsonguard/internal/vfs"
)

// Numbers from statfs(2) and the kernel's include/uapi/linux/magic.h that x/sys does not have.
const (
	magicCIFS   = 0xff534d42
	magicSMB2   = 0xfe534d42
	magicCEPH   = 0x00c36400
	magicGPFS   = 0x47504653
	magicLustre = 0x0bd00bd0
	magicVMW    = 0xbacbacbc // vmhgfs
	magicVBOX   = 0x786f4256 // vboxsf
)

// network are filesystems whose other machines a lock may not reach.
var network = map[uint32]string{
	unix.NFS_SUPER_MAGIC: "NFS", magicCIFS: "SMB (cifs)", magicSMB2: "SMB", unix.SMB_SUPER_MAGIC: "SMB (smbfs)", magicCEPH: "CephFS",
	magicGPFS: "GPFS", magicLustre: "Lustre", unix.AFS_SUPER_MAGIC: "AFS", unix.CODA_SUPER_MAGIC: "Coda",
	unix.V9FS_MAGIC: "9P", magicVMW: "VMware shared folder", magicVBOX: "VirtualBox shared folder",
}

var local = map[uint32]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "XFS", unix.BTRFS_SUPER_MAGIC: "Btrfs", unix.TMPFS_MAGIC: "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.F2FS_SUPER_MAGIC: "F2FS", 0x2fc12fc1: "ZFS", unix.MSDOS_SUPER_MAGIC: "FAT",
	0x2011bab0: "exFAT", 0x5346544e: "NTFS", 0x7366746e: "NTFS (ntfs3)",
}

func kindOfFilesystem(path string) Finding {
	found := Finding{Name: "filesystem", State: Info, Means: "-"}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		found.Detail = err.Error()
		return found
	}
	magic := uint32(st.Type)
	if name, ok := network[magic]; ok {
		found.State, found.Detail = Weak, name+", a network filesystem"
		found.Means = "what is tried here shows that processes of this machine exclude each other; run doctor and stress on the others too"
		return found
	}
	switch name, ok := local[magic]; {
	case magic == unix.FUSE_SUPER_MAGIC:
		found.State, found.Detail = Weak, "FUSE"
		found.Means = "what it keeps depends on the program behind it; it may be a network filesystem"
	case magic == unix.TMPFS_MAGIC:
		found.State, found.Detail = Weak, "tmpfs, in memory"
		found.Means = "nothing here survives a power cut or a reboot"
	case ok:
		found.State, found.Detail = OK, name
	default:
		found.Detail = fmt.Sprintf("type 0x%x", magic)
	}
	return found
}

// mounts looks at what containers do: single files that are mounted into a directory (a rename over one says EBUSY),
// directories of the host, and a root that goes with the container.
func mounts(path string) Finding {
	found := Finding{Name: "mounts", State: OK, Detail: "no single file is mounted here", Means: "-"}
	points, err := mountPoints()
	if err != nil {
		found.State, found.Detail = Info, err.Error()
		return found
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		resolved = path
	}
	var files []string
	for _, p := range points {
		if filepath.Dir(p.at) != resolved || p.at == resolved {
			continue
		}
		if info, err := os.Stat(p.at); err == nil && info.Mode().IsRegular() {
			files = append(files, filepath.Base(p.at))
		}
	}
	if len(files) > 0 {
		found.State, found.Detail = Weak, "mounted single files: "+strings.Join(files, ", ")
		found.Means = "such a file cannot be replaced by rename, only overwritten under a redo journal: a reader may see a part; mount the directory instead"
		return found
	}
	if p, ok := mountOf(points, resolved); ok && p.root != "/" {
		found.Detail += fmt.Sprintf("; %s is a bind mount: who uses the same files by another path must see the lock beside them", p.at)
	} else if ok && p.kind == "overlay" && inContainer() {
		found.State, found.Detail = Weak, "an overlay, the container's own layer"
		found.Means = "what is kept here goes with the container: mount a directory for what has to stay"
	}
	if inContainer() {
		found.Detail += "; this is a container: processes outside it must see the same directory to be excluded"
	}
	return found
}

// mountPoint is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mountPoint struct {
	root string // what of its filesystem is mounted; "/" all
	at   string
	kind string
}

func mountPoints() ([]mountPoint, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var points []mountPoint
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for lines.Scan() {
		const root, at = 3, 4 // fields, counted from 0
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if len(fields) > at && len(rest) > 0 {
			points = append(points, mountPoint{unescape.Replace(fields[root]), unescape.Replace(fields[at]), rest[0]})
		}
	}
	return points, lines.Err()
}

// mountOf is the mount that path is on: the longest that it lies under, and of equal ones the last.
func mountOf(points []mountPoint, path string) (best mountPoint, ok bool) {
	for _, p := range points {
		under := p.at == "/" || path == p.at || strings.HasPrefix(path, p.at+"/")
		if under && len(p.at) >= len(best.at) {
			best, ok = p, true
		}
	}
	return best, ok
}

func inContainer() bool {
	for _, sign := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(sign); err == nil {
			return true
		}
	}
	return false
}

func attributes(d vfs.Dir) Finding {
	found := Finding{Name: "extended attributes", State: Weak, Means: "a file that has some cannot have come from here; nothing is lost"}
	f, err := create(d, "attributes", "")
	if err != nil {
		found.Detail = err.Error()
		return found
	}
	_ = f.Close()
	err = unix.Setxattr(filepath.Join(d.Path(), "attributes"), "user.jsonguard", []byte("x"), 0)
	if errors.Is(err, unix.ENOTSUP) {
		found.Detail = "not supported"
		return found
	}
	if err != nil {
		found.Detail = err.Error()
		return found
	}
	found.State, found.Detail, found.Means = OK, "they can be set, so those of a file survive a fold", "-"
	return found
}
