package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"jsonguard/internal/vfs"
)

// quarantined is what quarantine/<sidecar>.<seq>.json holds: the change as it was in the sidecar, and why it is here.
type quarantined struct {
	Time    time.Time `json:"time"`
	Sidecar string    `json:"sidecar"`
	Seq     uint64    `json:"seq"`
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Command string    `json:"command"`
	Reason  string    `json:"reason"`
	Change  line      `json:"change"`
}

// quarantined is the path of a file in quarantine, for messages.
func (g *Guard) quarantined(name string) string {
	return filepath.Join(g.GuardDir(), quarantineName, name)
}

func rejectedName(sidecar string, seq uint64) string { return fmt.Sprintf("%s.%d.json", sidecar, seq) }

func (r rejection) summary() Rejected {
	return Rejected{Sidecar: r.from.name, Seq: r.Seq, Reason: r.reason.Error(), File: rejectedName(r.from.name, r.Seq)}
}

// keepRejected puts refused changes into quarantine, on disk, before their watermark passes.
func (f *fold) keepRejected() error {
	if len(f.rejected) == 0 {
		return nil
	}
	for _, r := range f.rejected {
		h := r.from.header
		record, err := json.MarshalIndent(quarantined{
			Time: time.Now().UTC(), Sidecar: r.from.name, Seq: r.Seq, PID: h.PID, Host: h.Host, Command: h.Command,
			Reason: r.reason.Error(), Change: r.line,
		}, "", "  ")
		if err != nil {
			return err
		}
		if r.Ours != "" || r.scratch != nil {
			version, err := f.versionOf(r.pendingLine)
			if err == nil {
				err = f.s.keep(fmt.Sprintf("%s.%d.version", r.from.name, r.Seq), version)
			} else if errors.Is(err, ErrDamaged) {
				err = nil // there is none to keep
			}
			if err != nil {
				return err
			}
		}
		if err := f.s.keep(rejectedName(r.from.name, r.Seq), append(record, '\n')); err != nil {
			return err
		}
	}
	return f.s.quarantine.Sync()
}

// keep puts a file into the quarantine, whole; its entry is not synced yet. What a fold that was stopped here left under
// either name is replaced.
func (s *store) keep(name string, content []byte) error {
	part := name + ".part"
	if err := s.quarantine.Remove(part); err != nil && !isMissing(err) {
		return err
	}
	if err := writeNew(s.quarantine, part, content, s.perm); err != nil {
		return err
	}
	return s.quarantine.Rename(part, name)
}

// writeSynced fills a new file and closes it.
func writeSynced(file vfs.File, content []byte) error {
	err := writeWhole(file, content, 0)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

// wasRejected tells the owner of a change that another process folded.
func (s *store) wasRejected(sidecar string, seq uint64) (reason string, yes bool) {
	raw, err := readFile(s.quarantine, rejectedName(sidecar, seq))
	if err != nil {
		return "", false
	}
	var q quarantined
	if json.Unmarshal(raw, &q) != nil {
		return "unknown", true
	}
	return q.Reason, true
}

func (f *fold) versionOf(p pendingLine) ([]byte, error) {
	if p.scratch != nil {
		return p.scratch.content, nil
	}
	return f.s.readVersion(p.from.name, p.Ours)
}
