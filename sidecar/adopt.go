package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// adopt does for a dead view what its owner had no time for: submit what the copy holds, or quarantine it.
func (f *fold) adopt(sc *sidecarFile) error {
	view, err := f.s.views.OpenDir(sc.name)
	if isMissing(err) {
		sc.final = true // never filled, or removed already
		return nil
	}
	if err != nil {
		return err
	}
	defer view.Close()
	if used, err := inUse(view); err != nil || used {
		return err
	}
	sc.final = true
	// Before its base: a removal takes the copy first, and a power cut may stop it anywhere behind that.
	content, err := readCopy(view, f.g.name)
	if errors.Is(err, errCopyGone) {
		return nil
	}
	if err != nil {
		return err
	}
	base := sc.lastOurs
	if mark := f.marks[sc.name]; mark > sc.seqEnd {
		// Its last line was folded before it was on disk, and a power cut took it; the version that it named was on disk
		// before it.
		sc.seqEnd, base = mark, oursName(mark)
	}
	if base == "" {
		if _, err := view.Stat(baseName); err == nil {
			base = baseName
		}
	}
	var before []byte
	if base != "" {
		if before, err = readFile(view, base); err != nil {
			return err
		}
	}
	if bytes.Equal(content, before) {
		return nil
	}
	err = checkComplete(content, before, f.g.format)
	if err == nil && sc.header.Boot != f.g.boot {
		var old bool
		if old, err = f.checkSurvived(view, content); old {
			return nil
		}
	}
	if err != nil && !errors.Is(err, ErrTorn) {
		return err
	}
	if err != nil {
		name, kerr := f.s.keepTorn(view, sc.name, f.g.name, base)
		if kerr != nil {
			return kerr
		}
		if name != "" {
			f.torn = append(f.torn, name)
		}
		f.g.warn("process %d (%s) was stopped in the middle of a write: its incomplete copy is in quarantine: %s", sc.header.PID, sc.header.Command, f.g.quarantined(name))
		return nil
	}
	j := &journal{dir: f.s.pending, file: sc.file, id: sc.name, seq: sc.seqEnd, size: sc.end}
	info, err := sc.file.Stat()
	if err != nil {
		return err
	}
	j.inode = info.Inode
	if err := sc.file.Truncate(sc.end); err != nil { // a torn last line
		return err
	}
	l := line{Generation: f.last.Generation, Monotonic: monotonic(), New: base == "", Base: base, Additions: f.g.format == merge.Lines}
	if l.Seq, err = j.appendVersion(view, l, content, f.s.perm); err != nil {
		return err
	}
	l.Ours = oursName(l.Seq)
	sc.makeUp(l)
	sc.seqEnd, sc.end, sc.lastOurs = l.Seq, j.size, l.Ours
	return nil
}

// checkSurvived looks at a copy that was written before the machine was started again, without an fsync: what is on
// disk may be an earlier version of it, which would take back what was submitted since, or sectors of several.
func (f *fold) checkSurvived(view vfs.Dir, content []byte) (old bool, err error) {
	names, err := view.Names()
	if err != nil {
		return false, err
	}
	lines := f.g.format == merge.Lines
	appended := lines // to every version there was
	for _, name := range names {
		if name != baseName && !strings.HasSuffix(name, oursSuffix) {
			continue
		}
		version, err := readFile(view, name)
		if err != nil {
			return false, err
		}
		if bytes.Equal(content, version) || lines && bytes.HasPrefix(version, content) {
			return true, nil
		}
		appended = appended && bytes.HasPrefix(content, version)
	}
	if appended {
		return false, nil // such lines are whole or zeros
	}
	return false, fmt.Errorf("%w: the machine was restarted before it was known to be on disk", ErrTorn)
}

// inUse says whether a process holds the view.
func inUse(view vfs.Dir) (bool, error) {
	owner, err := view.OpenFile(ownerName, os.O_RDONLY, 0)
	if isMissing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer owner.Close()
	free, err := owner.TryLock()
	return !free, err
}

// applyVersion merges a complete new version, made from a base that is beside it.
func (f *fold) applyVersion(p pendingLine, l line) ([]merge.Conflict, error) {
	diff := f.own.prepared.diff
	if diff == nil || f.own.prepared.of != (change{p.from.name, p.Seq}) {
		var base []byte
		var err error
		switch l.Base {
		case "":
		case baseUnknown:
			base = f.doc.Bytes()
		default:
			if base, err = f.s.readVersion(p.from.name, l.Base); err != nil {
				return nil, err
			}
		}
		ours, err := f.s.readVersion(p.from.name, l.Ours)
		if err == nil && l.Base == baseUnknown {
			ours, err = f.withLacking(base, ours)
		}
		if err != nil {
			return nil, err
		}
		if diff, err = prepare(base, ours, l.Additions, f.g); err != nil {
			return nil, err
		}
	}
	return f.mergeVersion(p.from.name, diff)
}

// withLacking is base, which is what the target is, with those of some lines behind it that it does not have. Of a document, and where the
// policy says which line stands for which, a merge finds what it does not have.
func (f *fold) withLacking(base, lines []byte) ([]byte, error) {
	if rule, _ := f.g.Policy().Rule(nil); f.g.format != merge.Lines || rule.Merge != "" {
		return lines, nil
	}
	lacking, err := f.doc.Lacking(lines, f.g.Policy())
	if err != nil || len(lacking) == 0 {
		return base, err
	}
	return append(appendLines(bytes.Clone(base), nil), lacking...), nil
}

// errUnreadable: not now; a version that is not there is ErrDamaged, and never will be.
var errUnreadable = errors.New("version cannot be read")

// readVersion reads a file of views/<id>/. The name comes from a journal line: it must be one path element.
func (s *store) readVersion(id, name string) ([]byte, error) {
	if filepath.Base(name) != name {
		return nil, fmt.Errorf("%w: version named %q", ErrDamaged, name)
	}
	view, err := s.views.OpenDir(id)
	if err == nil {
		defer view.Close()
		var content []byte
		if content, err = readFile(view, name); err == nil {
			return content, nil
		}
	}
	why := errUnreadable
	if isMissing(err) || errors.Is(err, ErrTarget) {
		why = ErrDamaged
	}
	return nil, fmt.Errorf("%w: %w", why, err)
}

// removeView removes views/<id>/, unless a process still uses it.
func (s *store) removeView(id string) (gone bool, err error) {
	view, err := s.views.OpenDir(id)
	if isMissing(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer view.Close()
	if used, err := inUse(view); err != nil || used {
		return false, err
	}
	// The copy first and on disk: without it the view has nothing to adopt, whatever else a power cut brings back.
	if err := vfs.RemoveAll(view, copyName); err != nil {
		return false, err
	}
	if err := view.Sync(); err != nil {
		return false, err
	}
	if err := vfs.RemoveAll(s.views, id); err != nil {
		return false, err
	}
	return true, s.views.Sync()
}
