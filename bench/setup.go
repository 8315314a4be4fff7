package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed peers
var peerFiles embed.FS

// buildCommand builds jsonguard in its own module: run this program from its source directory.
func buildCommand(out string) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "jsonguard").Output()
	if err != nil {
		return fmt.Errorf("run it in its own directory (cd bench; go run .): %w", err)
	}
	return build(strings.TrimSpace(string(root)), out, "./cmd/jsonguard")
}

func build(dir, out, what string) error {
	cmd := exec.Command("go", "build", "-o", out, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the README has it
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	return cmd.Run()
}

// preparePeers puts the scripts of the peers into the work directory, and what those on Node need.
func (b *bench) preparePeers() error {
	if err := os.CopyFS(b.work, peerFiles); err != nil {
		return err
	}
	dir := filepath.Join(b.work, "node")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if b.check {
		return nil // they are not needed
	}
	cmd := exec.Command("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", dir, "proper-lockfile@4", "write-file-atomic@5")
	if cmd.Run() == nil {
		b.node = dir
	}
	return nil
}

func flock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) }
