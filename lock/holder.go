package lock

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Holder is a process that holds a lock.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Command string    `json:"command"`
	Since   time.Time `json:"since,omitzero"`    // when it took the lock; zero where only the kernel knows the holder
	Running time.Time `json:"running,omitzero"`  // when the process started, where that is all that is known
	Started string    `json:"started,omitempty"` // tells it from a later process with its pid
	Pointer *string   `json:"pointer,omitempty"` // what it locked, if not the file
	Shared  bool      `json:"shared,omitempty"`
}

func (h *Holder) String() string {
	text := fmt.Sprintf("process %d", h.PID)
	if h.Command != "" {
		text += fmt.Sprintf(" (%s)", h.Command)
	}
	if h.Host != "" {
		text += " on " + h.Host
	}
	switch {
	case !h.Since.IsZero():
		text += " since " + h.Since.Local().Format(time.RFC3339)
	case !h.Running.IsZero():
		text += ", which runs since " + h.Running.Local().Format(time.RFC3339)
	}
	return text
}

// self is this process as a holder. Of its command only the program's name is written down: arguments may hold
// secrets, and a file keeps them longer and shows them to others than the kernel does (proc_pid_cmdline(5)).
func self(o options) Holder {
	host, _ := os.Hostname()
	return Holder{
		PID: os.Getpid(), Host: host, Command: filepath.Base(os.Args[0]), Since: time.Now(),
		Started: startOf(os.Getpid()), Pointer: o.pointer, Shared: o.shared,
	}
}

const holdersName = "holders"

// noteName is where the holder of a pointer (nil: the file) writes who it is, in the guard directory. It is never the
// lock: losing it, or finding an old one, costs a name in a message.
func noteName(pointer *string) string {
	key := ""
	if pointer != nil {
		key = "pointer:" + *pointer
	}
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(holdersName, hex.EncodeToString(sum[:8]))
}

// noteAfter is how long the lock of a file is held before its holder is noted: a file is made and removed for that, which
// costs more than most holds last. Until then the kernel knows the holder, but not since when.
var noteAfter = 50 * time.Millisecond

// recordSoon is recordHolder after noteAfter, unless the lock was given back by then.
func recordSoon(target string, o options) (remove func()) {
	since := time.Now()
	var mu sync.Mutex
	released := false
	var undo func()
	timer := time.AfterFunc(noteAfter, func() {
		mu.Lock()
		defer mu.Unlock()
		if !released {
			undo = recordHolder(target, o, since)
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		released = true
		if undo != nil {
			undo()
		}
	}
}

// recordHolder leaves a note for the timeout of others, where there is a guard directory already, and returns what
// takes it back.
func recordHolder(target string, o options, since time.Time) (remove func()) {
	guard, err := openDir(GuardDir(target))
	if err != nil {
		return nil
	}
	defer guard.Close()
	holder := self(o)
	holder.Since = since
	note, err := json.Marshal(holder)
	if err != nil {
		return nil
	}
	file, dir := fs.FileMode(0o600), fs.FileMode(0o700)
	if info, err := os.Stat(target); err == nil {
		file, dir = filePerm(info), dirPerm(info)
	}
	name := noteName(o.pointer)
	err = writeNote(guard, name, note, file)
	if errors.Is(err, fs.ErrNotExist) && guard.Mkdir(holdersName, 0o700) == nil {
		_ = guard.Chmod(holdersName, dir)
		err = writeNote(guard, name, note, file)
	}
	if err != nil {
		return nil
	}
	return func() {
		if guard, err := openDir(GuardDir(target)); err == nil {
			_ = guard.Remove(name)
			_ = guard.Close()
		}
	}
}

func writeNote(guard *os.Root, name string, note []byte, perm fs.FileMode) error {
	f, err := guard.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|nonblock, perm)
	if err != nil {
		return err
	}
	_ = f.Chmod(perm) // what the umask took; another user's note keeps its bits
	_, err = f.Write(note)
	return errors.Join(err, f.Close())
}

// findHolder asks the kernel first, which knows programs that never heard of us, and the record for what the kernel
// does not tell: since when.
func findHolder(path, target string) *Holder {
	recorded := readRecord(target, noteName(nil))
	if h := leaseHolder(target); h != nil {
		return h
	}
	if pid := lockOwner(path); pid > 0 {
		if recorded != nil && recorded.PID == pid {
			return recorded
		}
		return describe(pid)
	}
	return recorded
}

func readRecord(target, name string) *Holder {
	guard, err := openDir(GuardDir(target))
	if err != nil {
		return nil
	}
	defer guard.Close()
	f, err := guard.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	const limit = 64 << 10 // somebody else may have written it
	raw, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil
	}
	return readNote(raw)
}

// readNote believes a note only while the very process that wrote it lives. What the kernel shows of its command line
// is added.
func readNote(raw []byte) *Holder {
	var h Holder
	if json.Unmarshal(raw, &h) != nil || h.PID <= 0 {
		return nil
	}
	if host, _ := os.Hostname(); h.Host != host {
		return &h
	}
	if startOf(h.PID) != h.Started {
		return nil // dead, or another process by now
	}
	if command := commandOf(h.PID); command != "" {
		h.Command = command
	}
	return &h
}

func shorten(command string) string {
	const limit = 200
	if len(command) > limit {
		command = strings.ToValidUTF8(command[:limit], "") + "…"
	}
	return command
}
