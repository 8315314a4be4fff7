package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// Verify checks everything on disk that belongs to the target: that it parses and is what was committed, the commit
// records, the checksums of sidecars, the versions that are kept, conflict log and quarantine, and what is there that
// does not belong. It takes no lock. With repair it first does what is safe, see repair, and says so.
func (g *Guard) Verify(ctx context.Context, repair bool) ([]Finding, error) {
	var repaired []Finding
	if repair {
		var err error
		if repaired, err = g.repair(ctx); err != nil {
			return nil, err
		}
	}
	s, err := g.openStore(false)
	if isMissing(err) {
		return append([]Finding{g.verifyTarget(ctx, nil)}, repaired...), nil
	}
	if err != nil {
		return nil, g.fail("verify", err, "")
	}
	defer s.close()
	findings := g.verifyStore(ctx, s)
	return append(findings, repaired...), nil
}

// verifyTarget: it parses, and is not what a crash of the disk or of a program makes of a document: emptied, or changed
// behind its back.
func (g *Guard) verifyTarget(ctx context.Context, last *commit) Finding {
	found := Finding{Check: "target", Path: g.Target()}
	f := &fold{g: g}
	if err := f.readTarget(); err != nil {
		found.Detail = err.Error()
		return found
	}
	defer f.target.close()
	if f.target.missing {
		found.OK, found.Detail = true, "does not exist"
		return found
	}
	content, err := f.target.read()
	if err == nil {
		_, err = merge.Parse(content, g.format)
		found.Detail = fmt.Sprintf("%d bytes", len(content))
	}
	now := identify(f.target.info, contentHash(content))
	switch {
	case err != nil:
		found.Detail = err.Error()
	case last != nil && len(bytes.TrimSpace(content)) == 0 && last.To.Size > 0:
		found.Detail = fmt.Sprintf("is empty; the last fold left %d bytes", last.To.Size)
	case last != nil && !last.initial() && now.sameFile(last.To) && now.Hash != last.To.Hash:
		found.Detail = "its bytes are not those that were committed, though nobody seems to have written it: a bad disk, or a program that edited it in place"
	default:
		found.OK = true
	}
	if !found.OK {
		if offer := g.RestoreHint(ctx); offer != "" {
			found.Detail += "; " + offer
		}
	}
	return found
}

func (g *Guard) verifyStore(ctx context.Context, s *store) []Finding {
	last, findings := g.verifyCommits(s)
	findings = append([]Finding{g.verifyTarget(ctx, last)}, findings...)
	if last != nil {
		settled := s.readSettled() == last.Generation
		findings = append(findings, g.verifyUnguarded(last, settled))
		marks, err := g.marksNow(last, settled)
		if err == nil {
			var owners []Owner
			if owners, err = g.owners(s, marks); err == nil {
				findings = append(findings, verifyOwners(g, owners)...)
			}
		}
		if err != nil {
			findings = append(findings, Finding{Check: "sidecar", Path: filepath.Join(g.GuardDir(), pendingName), Detail: err.Error()})
		}
	}
	findings = append(findings, g.verifyHistory(s)...)
	findings = append(findings, g.verifyConflicts(s)...)
	findings = append(findings, g.verifyQuarantine(s)...)
	return append(findings, g.verifyLeftovers(s)...)
}

// verifyCommits returns the newest record, nil where there is none that can be gone on from.
func (g *Guard) verifyCommits(s *store) (*commit, []Finding) {
	found := Finding{Check: "commit", Path: g.GuardDir()}
	last, err := s.newestCommit()
	if err != nil {
		found.Detail = err.Error()
		return nil, []Finding{found}
	}
	settled := s.readSettled()
	switch found.Detail = fmt.Sprintf("generation %d", last.Generation); {
	case settled > last.Generation:
		found.Detail = fmt.Sprintf("the record of generation %d is damaged, the newest valid one is %d", settled, last.Generation)
		return nil, []Finding{found}
	case settled < last.Generation:
		found.Detail += ", a fold was stopped or is under way"
	}
	found.OK = true
	findings := []Finding{found}
	other := commitName(last.Generation + 1)
	if raw, err := readFile(s.guard, other); err != nil || parseCommit(raw) == nil { // as a crash leaves it, too
		findings = append(findings, Finding{Check: "commit", Path: filepath.Join(g.GuardDir(), other), OK: true,
			Detail: "the older of the two records cannot be read; nothing depends on it, and the next fold writes it again"})
	}
	return last, findings
}

func (g *Guard) verifyUnguarded(last *commit, settled bool) Finding {
	found := Finding{Check: "unguarded", Path: g.Target(), OK: true, Detail: "the target is what the last fold left"}
	unguarded, err := g.unguarded(last, settled)
	switch {
	case err != nil:
		found.OK, found.Detail = false, err.Error()
	case unguarded:
		found.OK, found.Detail = false, g.whoChanged()
	}
	return found
}

// whoChanged names who changed the target without jsonguard, as far as anybody knows: whose file it is, when that was, and
// who has it open now.
func (g *Guard) whoChanged() string {
	info, err := g.parent.Stat(g.name)
	if isMissing(err) {
		return "somebody without jsonguard removed the target after the last fold"
	}
	text := "somebody without jsonguard changed the target after the last fold"
	if err != nil {
		return text
	}
	text += fmt.Sprintf(", at %s; it belongs to %s", info.MTime.Local().Format(time.DateTime), userName(info.UID))
	if open := holders(info); len(open) > 0 {
		text += "; open in " + strings.Join(open, ", ")
	}
	return text
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

func verifyOwners(g *Guard, owners []Owner) []Finding {
	var findings []Finding
	for _, o := range owners {
		found := Finding{Check: "sidecar", Path: filepath.Join(g.GuardDir(), pendingName, o.ID), OK: o.Damage == "", Detail: o.Damage}
		if found.OK {
			life := "dead"
			if o.Live {
				life = "live"
			}
			found.Detail = fmt.Sprintf("%d pending, process %d (%s) is %s", o.Pending, o.PID, o.Command, life)
			if o.PID == 0 {
				found.Detail = "nothing pending: its process was stopped before it had written its first line"
			}
		}
		findings = append(findings, found)
	}
	return findings
}

// verifyHistory reads every version that is kept.
func (g *Guard) verifyHistory(s *store) []Finding {
	dir := filepath.Join(g.GuardDir(), historyName)
	failed := func(err error) []Finding { return []Finding{{Check: "history", Path: dir, Detail: err.Error()}} }
	files, err := s.keptIfAny()
	if err != nil {
		return failed(err)
	}
	if s.history == nil {
		return nil
	}
	var findings []Finding
	bad := func(name, detail string) {
		findings = append(findings, Finding{Check: "history", Path: filepath.Join(dir, name), Detail: detail})
	}
	lines, broken, err := s.readIndex()
	if err != nil {
		return failed(err)
	}
	if broken > 0 {
		bad(indexName, fmt.Sprintf("%d of %d lines cannot be read: who made those versions is not known", broken, broken+len(lines)))
	}
	hashes := map[uint64]kept{}
	for _, k := range lines {
		hashes[k.Generation] = k
	}
	for _, f := range files {
		if detail := s.damagedVersion(f, hashes[f.generation].From.Hash); detail != "" {
			bad(f.name, detail)
		}
	}
	for _, k := range lines {
		if g.isLost(k, files) {
			bad("", fmt.Sprintf("the version before generation %d is missing", k.Generation))
		}
	}
	if len(findings) == 0 {
		findings = append(findings, Finding{Check: "history", Path: dir, OK: true, Detail: fmt.Sprintf("%d versions in files of their own, %d folds known", len(files), len(lines))})
	}
	return findings
}

// isLost: a version that a file of its own would be kept in has none, and was not pruned: older ones are there.
func (g *Guard) isLost(k kept, files []keptFile) bool {
	if len(files) == 0 || k.Generation < files[0].generation || k.Kind == kindAppend || k.From.Missing || k.Gone {
		return false
	}
	if slices.ContainsFunc(files, func(f keptFile) bool { return f.generation == k.Generation }) {
		return false
	}
	versions, _, err := g.readHistory() // a fold that was stopped has a line, and replaced nothing
	return err == nil && slices.ContainsFunc(versions, func(v Version) bool { return v.until == k.Generation })
}

// readIndex returns the lines of the index and how many are damaged.
func (s *store) readIndex() (lines []kept, broken int, err error) {
	raw, err := readFile(s.history, indexName)
	if err != nil {
		return nil, 0, ignoreMissing(err)
	}
	lines, broken = parseIndex(raw)
	return lines, broken, nil
}

// damagedVersion says what is wrong with a version that is kept; hash is what its content had, "" if that is not known.
func (s *store) damagedVersion(f keptFile, hash string) string {
	file, err := s.history.OpenFile(f.name, os.O_RDONLY, 0)
	if isMissing(err) {
		return "" // pruned in this moment
	}
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && !info.Mode.IsRegular() {
		return "is no file"
	}
	var h hasher
	if err == nil {
		err = h.addFile(file, info.Size)
	}
	switch {
	case err != nil:
		return err.Error()
	case hash != "" && h.String() != hash:
		return "is not what it was when it was replaced: a program that had it open wrote it, or a bad disk"
	}
	return ""
}

func (g *Guard) verifyConflicts(s *store) []Finding {
	path := filepath.Join(g.GuardDir(), conflictsName)
	raw, err := readFile(s.guard, conflictsName)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return []Finding{{Check: "conflicts", Path: path, Detail: err.Error()}}
	}
	good, broken := wholeLines(raw)
	whole := bytes.Count(good, []byte("\n"))
	if broken > 0 {
		return []Finding{{Check: "conflicts", Path: path, Detail: fmt.Sprintf("%d of %d lines cannot be read", broken, broken+whole)}}
	}
	return []Finding{{Check: "conflicts", Path: path, OK: true, Detail: fmt.Sprintf("%d lines", whole)}}
}

func (g *Guard) verifyQuarantine(s *store) []Finding {
	names, err := s.quarantine.Names()
	if err != nil {
		return []Finding{{Check: "quarantine", Path: filepath.Join(g.GuardDir(), quarantineName), Detail: err.Error()}}
	}
	var findings []Finding
	for _, n := range names {
		found := Finding{Check: "quarantine", Path: g.quarantined(n), OK: true, Detail: "kept for a person to look at"}
		switch {
		case strings.HasSuffix(n, ".json"):
			var q quarantined
			raw, err := readFile(s.quarantine, n)
			if err == nil {
				err = json.Unmarshal(raw, &q)
			}
			if found.OK = err == nil; found.OK {
				found.Detail = fmt.Sprintf("refused change of process %d (%s): %s", q.PID, q.Command, q.Reason)
			} else {
				found.Detail = "cannot be read: " + err.Error()
			}
		case strings.HasSuffix(n, damagedSuffix):
			found.Detail = "damaged, taken out by a repair; kept for a person to look at"
		case strings.HasSuffix(n, uncertainSuffix):
			found.Detail = "its changes may be in the file or not; kept for a person to look at"
		case !strings.HasSuffix(n, tornSuffixName):
			continue // parts of those
		}
		findings = append(findings, found)
	}
	return findings
}

// verifyLeftovers lists temporary files, and what no jsonguard made.
func (g *Guard) verifyLeftovers(s *store) []Finding {
	var findings []Finding
	if names, err := g.parent.Names(); err == nil {
		for _, n := range names {
			if g.isTemp(n) {
				findings = append(findings, Finding{Check: "temp", Path: filepath.Join(g.dirPath, n), OK: true, Detail: "of a fold that was stopped or is under way"})
			}
		}
	}
	foreign := func(room vfs.Dir, inside string, ours func(string) bool) {
		names, err := room.Names()
		if err != nil {
			return
		}
		for _, n := range names {
			if !ours(n) {
				findings = append(findings, Finding{Check: "foreign", Path: filepath.Join(g.GuardDir(), inside, n), Detail: "not made by jsonguard, and left alone"})
			}
		}
	}
	foreign(s.guard, "", isOfGuard)
	if s.history != nil {
		foreign(s.history, historyName, isOfHistory)
	}
	return findings
}

func isOfGuard(name string) bool {
	switch name {
	case pendingName, viewsName, quarantineName, historyName, conflictsName:
		return true
	}
	return isDisposableName(name)
}

func isOfHistory(name string) bool {
	_, version := parseKeptName(name)
	return version || name == indexName || name == indexNewName || name == partName
}
