package lock

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Holder is a process that holds a lock.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`             // when it took the lock, or when it started where that is all that is known
	Started string    `json:"started,omitempty"` // tells it from a later process with its pid
}

func (h *Holder) String() string {
	text := fmt.Sprintf("process %d", h.PID)
	if h.Command != "" {
		text += fmt.Sprintf(" (%s)", h.Command)
	}
	if h.Host != "" {
		text += " on " + h.Host
	}
	if !h.Since.IsZero() {
		text += " since " + h.Since.Local().Format(time.RFC3339)
	}
	return text
}

// recordPath is where the holder of a pointer ("" the file) writes who it is. It is never the lock: losing it, or
// finding an old one, costs a name in a message.
func recordPath(target, pointer string) string {
	sum := sha256.Sum256([]byte(pointer))
	return filepath.Join(GuardDir(target), "holders", hex.EncodeToString(sum[:8]))
}

// recordHolder leaves a note for the timeout of others, where there is a guard directory already, and returns what
// takes it back.
func recordHolder(target, pointer string) func() {
	if _, err := os.Stat(GuardDir(target)); err != nil {
		return nil
	}
	host, _ := os.Hostname()
	note, err := json.Marshal(Holder{PID: os.Getpid(), Host: host, Command: ownCommand(), Since: time.Now(), Started: startOf(os.Getpid())})
	if err != nil {
		return nil
	}
	path := recordPath(target, pointer)
	if os.WriteFile(path, note, 0o644) != nil {
		if os.Mkdir(filepath.Dir(path), 0o755) != nil || os.WriteFile(path, note, 0o644) != nil {
			return nil
		}
	}
	return func() { _ = os.Remove(path) }
}

func ownCommand() string {
	return shorten(strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " "))
}

func shorten(command string) string {
	const limit = 200
	if len(command) > limit {
		command = strings.ToValidUTF8(command[:limit], "") + "…"
	}
	return command
}

// findHolder asks the kernel first, which knows programs that never heard of us, and the record for what the kernel
// does not tell: since when.
func findHolder(path, target, pointer string) *Holder {
	recorded := readRecord(recordPath(target, pointer))
	if pointer == "" {
		if pid := lockOwner(path); pid > 0 {
			if recorded != nil && recorded.PID == pid {
				return recorded
			}
			return describe(pid)
		}
	}
	return recorded
}

// readRecord believes a note only while the very process that wrote it lives.
func readRecord(path string) *Holder {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var h Holder
	host, _ := os.Hostname()
	if json.Unmarshal(raw, &h) != nil || h.PID <= 0 {
		return nil
	}
	if h.Host == host && startOf(h.PID) != h.Started {
		return nil // dead, or another process by now
	}
	return &h
}
