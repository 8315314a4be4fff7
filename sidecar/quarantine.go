package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
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

func rejectedName(sidecar string, seq uint64) string {
	return sidecar + "." + strconv.FormatUint(seq, 10) + ".json"
}

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
			Reason: r.reason.Error(), Change: r.change,
		}, "", "  ")
		if err != nil {
			return err
		}
		if r.change.Ours != "" || r.from.scratch != nil {
			version, err := f.versionOf(r)
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

// wasRejected tells the owner of a change that another process folded.
func (s *store) wasRejected(sidecar string, seq uint64) (reason string, yes bool) {
	name := rejectedName(sidecar, seq)
	if _, err := s.quarantine.Stat(name); isMissing(err) { // which costs a third of what it takes to open nothing
		return "", false
	}
	raw, err := readFile(s.quarantine, name)
	if err != nil {
		return "", false
	}
	var q quarantined
	if json.Unmarshal(raw, &q) != nil {
		return "unknown", true
	}
	return q.Reason, true
}

func (f *fold) versionOf(r rejection) ([]byte, error) {
	if r.from.scratch != nil {
		return r.from.scratch.content, nil
	}
	return f.s.readVersion(r.from.name, r.change.Ours)
}

// moveToQuarantine takes a sidecar out of pending/, and the versions that it names out of views/, after they are on disk
// in quarantine/.
func (s *store) moveToQuarantine(name, suffix string) error {
	if err := s.linkTo(name, name+suffix); err != nil {
		return err
	}
	view, err := s.views.OpenDir(name)
	if err == nil {
		defer view.Close()
		var names []string
		if names, err = view.Names(); err != nil {
			return err
		}
		for _, n := range names {
			if info, err := view.Stat(n); err == nil && info.Mode.IsRegular() {
				if err := ignoreExists(view.Link(n, s.quarantine, name+suffix+"."+n)); err != nil {
					return err
				}
			}
		}
	} else if !isMissing(err) {
		return err
	}
	if err := s.quarantine.Sync(); err != nil {
		return err
	}
	if err := s.pending.Remove(name); err != nil {
		return err
	}
	return s.pending.Sync()
}

// linkTo gives a sidecar a name in quarantine/; where links are not to be had, it is copied.
func (s *store) linkTo(name, to string) error {
	err := ignoreExists(s.pending.Link(name, s.quarantine, to))
	if err == nil {
		return nil
	}
	content, rerr := readFile(s.pending, name)
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	return s.keep(to, content)
}
