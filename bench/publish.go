package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Marks in a file that publish writes between.
const (
	beginMark = "<!-- bench: begin -->"
	endMark   = "<!-- bench: end -->"
)

// publish puts what was measured into a file, and the charts beside it.
func (b *bench) publish(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := bytes.Index(text, []byte(beginMark)), bytes.Index(text, []byte(endMark))
	if begin < 0 || end < begin {
		return fmt.Errorf("%s has no %q with a %q behind it", file, beginMark, endMark)
	}
	const charts = "docs/bench"
	dir := filepath.Join(filepath.Dir(file), filepath.FromSlash(charts))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := b.writeCharts(dir); err != nil {
		return err
	}
	var block strings.Builder
	fmt.Fprintf(&block, "%s\n\n", beginMark)
	for _, c := range b.charts {
		if c.prominent() {
			fmt.Fprintf(&block, "![%s](%s/%s.svg)\n\n", c.title, charts, c.file())
		}
	}
	fmt.Fprintf(&block, "Measured on %s by `cd bench && go run . %s`, on %s.\n\n", b.began.Format("2006-01-02"), strings.Join(os.Args[1:], " "), b.machine())
	block.WriteString("| figure | asked | measured | |\n|---|---|---|---|\n")
	for _, f := range b.figures {
		fmt.Fprintf(&block, "| %s | %s %s | %s | %s |\n", f.what, f.sign(), f.number(f.asked), f.number(f.measured), f.verdict())
	}
	for _, s := range b.skipped {
		fmt.Fprintf(&block, "\nSkipped: %s.\n", s)
	}
	block.WriteString("\n")
	return os.WriteFile(file, append(append(bytes.Clone(text[:begin]), block.String()...), text[end:]...), 0o666)
}

// machine is what the numbers depend on.
func (b *bench) machine() string {
	model := runtime.GOARCH
	if cpu, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(cpu), "model name\t: "); ok {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	memory := ""
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		memory = fmt.Sprintf(", %.0f GB of memory", float64(info.Totalram)*float64(info.Unit)/(1<<30))
	}
	release := ""
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		release, _, _ = strings.Cut(unix.ByteSliceToString(uts.Release[:]), "-")
	}
	return fmt.Sprintf("%d processors (%s)%s, %s %s, %s", runtime.NumCPU(), model, memory, runtime.GOOS, release, filesystemOf(b.dir))
}

// filesystemOf names the ones that are met (statfs(2)).
func filesystemOf(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "an unknown filesystem"
	}
	if name, known := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}[int64(st.Type)]; known {
		return name
	}
	return fmt.Sprintf("filesystem %#x", st.Type)
}
