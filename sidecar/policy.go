package sidecar

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"time"

	"jsonguard/internal/policy"
	"jsonguard/merge"
)

// ErrPolicy: the policy file is wrong; nothing was done. The message has its line and column.
var ErrPolicy = policy.ErrInvalid

// findPolicy reads the policy file for a target. Whoever folds has to know it, because it folds the changes of
// everybody: so every Guard looks for it, and no door can forget to. nil: there is none, or o has a policy of its own.
func (o *Options) findPolicy(resolved string) (p *policy.Policy, warnings []string, err error) {
	switch {
	case o.Policy != nil:
		return nil, nil, nil
	case o.PolicyFile != "":
		p, err = policy.Load(o.PolicyFile)
		return p, nil, err
	}
	return policy.Find(resolved)
}

// policyStamp changes when findPolicy may find something else.
func (o *Options) policyStamp(resolved string) string {
	switch {
	case o.Policy != nil:
		return ""
	case o.PolicyFile != "":
		return policy.FileStamp(o.PolicyFile)
	}
	return policy.Stamp(resolved)
}

// followPolicy reads the policy again, under the locks, where its file has changed: a process that keeps a file open
// for days folds the changes of those who know the new one. A wrong one changes nothing, and is said.
func (g *Guard) followPolicy() {
	stamp := g.options.policyStamp(g.Target())
	if stamp == g.policyStamp {
		return
	}
	p, warnings, err := g.options.findPolicy(g.Target())
	if err != nil {
		g.warn("the policy was changed, the former one still counts: %v", err)
		return
	}
	for _, w := range warnings {
		g.warn("%s", w)
	}
	g.policyStamp = stamp
	g.takePolicy(p)
}

// takePolicy has g fold by p; nil is the default. What p says of locks counts when a target is opened.
func (g *Guard) takePolicy(p *policy.Policy) {
	if p == nil {
		p = &policy.Policy{}
	}
	g.policy.Store(p.Merge)
	g.tornAdditions = p.Torn == "additions"
	if g.options.History == nil {
		g.history.Store(historyOf(p.History))
	}
}

func historyOf(h *policy.History) *History {
	if h == nil {
		return nil
	}
	return &History{Keep: h.Keep, For: time.Duration(h.Days) * 24 * time.Hour, Size: h.Size}
}

// Policy is what this Guard folds by; nil is the default. It must not be changed. Where it comes from a file, it follows
// what is in there.
func (g *Guard) Policy() *merge.Policy { return g.policy.Load() }

// moved says of each writer where the target has what the writer's last version calls otherwise, because the policy
// renumbered it. It stands in the commit record, beside the watermark that says that this version is in the target: both
// are true at the same moment or not at all.
type moved map[string]movedVersion

type movedVersion struct {
	Version string      `json:"version"` // contentHash of what the writer wrote
	Names   merge.Moves `json:"names"`
}

// mergeVersion merges a whole version that a writer made.
func (f *fold) mergeVersion(writer string, c *merge.Change) ([]merge.Conflict, error) {
	before, has := f.movedAfter[writer]
	if has && contentHash(c.Base()) == before.Version {
		c = c.From(before.Names)
	}
	outcome, err := f.doc.Merge(c, f.g.Policy())
	names := outcome.Moves
	if err != nil {
		names = before.Names // refused: the writer goes on from its version all the same
	}
	delete(f.movedAfter, writer)
	if len(names) > 0 {
		if f.movedAfter == nil {
			f.movedAfter = moved{}
		}
		f.movedAfter[writer] = movedVersion{contentHash(c.Ours()), names}
	}
	return outcome.Conflicts, err
}

// stillMoved leaves out what was moved for writers that cannot come back to it: their sidecar is gone.
func (f *fold) stillMoved() moved {
	out := maps.Clone(f.movedAfter)
	maps.DeleteFunc(out, func(writer string, _ movedVersion) bool {
		session, _, ofScratch := strings.Cut(writer, "#")
		if !ofScratch {
			return f.after[writer] == 0
		}
		for _, sd := range f.sessions {
			if sd.id == session {
				return false
			}
		}
		for sidecar := range f.after { // of a session that could not be read
			if id, _, ok := sessionOf(sidecar); ok && id == session {
				return false
			}
		}
		return true
	})
	return out
}

// writerOf names the program behind a scratch file: each file is a sidecar of its own, the version in it is a process's.
func writerOf(p *pendingLine) string {
	session, _, _ := sessionOf(p.from.name)
	return session + "#" + strconv.Itoa(p.from.header.PID)
}

// deriveLimit bounds how long the jq programs of a policy may hold up a fold, all together.
const deriveLimit = 2 * time.Second

// derive computes what the policy says, once, after the last change.
func (f *fold) derive() error {
	policy := f.g.Policy()
	if policy == nil || len(policy.Derived) == 0 {
		return nil
	}
	before := f.restored
	if before == nil {
		var err error
		if before, err = f.target.read(); err != nil {
			return err
		}
	}
	f.warnNotDerived(derive(f.doc, before, policy))
	return nil
}

func derive(doc *merge.Document, before []byte, policy *merge.Policy) []error {
	ctx, stop := context.WithTimeout(context.Background(), deriveLimit)
	defer stop()
	return doc.Derive(ctx, before, policy)
}

func (f *fold) warnNotDerived(failed []error) {
	const shown = 3
	for i, err := range failed {
		if i == shown {
			f.g.warn("and %d more values are not derived", len(failed)-shown)
			break
		}
		f.g.warn("%v: the value stays as it is", err)
	}
}

// Normalize applies the renames of the policy, those on request included, to what is in the target. dryRun: it says what
// it would do, and changes nothing. An error that is merge.ErrRefused: a rule says fail for a place that was to be joined.
func (g *Guard) Normalize(ctx context.Context, dryRun bool) (joins []merge.Join, result Result, err error) {
	normalize := func(d *merge.Document) ([]merge.Conflict, error) {
		var outcome merge.Outcome
		joins, outcome, err = d.Normalize(g.Policy())
		return outcome.Conflicts, err
	}
	if !dryRun {
		result, err = g.foldOwn(ctx, ownChange{apply: normalize})
		return joins, result, err
	}
	content, err := g.Read(ctx)
	if err != nil {
		return nil, result, err
	}
	d, err := merge.Parse(content, g.format)
	if err == nil {
		_, err = normalize(d)
	}
	return joins, Result{}, g.fail("normalize", err, "")
}
