package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
)

// halfBorn is the table in docs/fold.md: what there is of a guard directory whose maker was killed, or that a power cut left, and what becomes
// of it, by who comes next. A change that is alone needs none, and folds where there is one.
var halfBorn = map[string]map[string]string{
	"none":       {"read": same, "verify": same, "change": same, "recover": same, "journal": "whole", "session": "whole", "clean": same},
	"no records": {"read": same, "verify": same, "change": same, "recover": same, "journal": "whole", "session": "whole", "clean": "none"},
	"no pending": {"read": same, "verify": same, "change": same, "recover": same, "journal": "whole", "session": "whole", "clean": "none"},
	"no settled": {"read": "whole", "verify": same, "change": "whole", "recover": "whole", "journal": "whole", "session": same, "clean": "none"},
	"whole":      {"read": same, "verify": same, "change": same, "recover": same, "journal": same, "session": same, "clean": "none"},
}

const same = "as it was"

// TestHalfBornGuardDirectories kills who makes a guard directory at each call, cuts the power there, and starts each kind of process behind that.
func TestHalfBornGuardDirectories(t *testing.T) {
	starts := map[string]func(m *machine, g *Guard) error{
		"read":   func(_ *machine, g *Guard) error { _, err := g.Read(t.Context()); return err },
		"change": func(_ *machine, g *Guard) error { _, err := g.Apply(t.Context(), incr("/after")); return err },
		"journal": func(_ *machine, g *Guard) error {
			return errors.Join(g.Journal(t.Context(), incr("/after")), g.Close())
		},
		"session": func(m *machine, g *Guard) error {
			s, err := newSession(g, m.process(Options{}))
			if err == nil {
				err = s.Close(false)
			}
			return err
		},
		"recover": func(_ *machine, g *Guard) error { _, _, err := g.Recover(t.Context(), false); return err },
		"verify": func(_ *machine, g *Guard) error {
			all, err := g.Verify(t.Context(), false)
			for _, f := range all {
				if !f.OK {
					err = errors.Join(err, fmt.Errorf("%+v", f))
				}
			}
			return err
		},
		"clean": func(_ *machine, g *Guard) error { _, err := g.Clean(t.Context()); return err },
	}
	seen := map[string]bool{}
	look := func(m *machine) {
		stage := stageOf(m)
		seen[stage] = true
		for name, start := range starts {
			next := &machine{T: t, mem: m.mem.Clone(), boots: m.boots}
			require.NoError(t, start(next, next.process(Options{})), "%s of %v", name, guardOf(m))
			became := stageOf(next)
			if became == stage {
				became = same
			}
			require.Equal(t, halfBorn[stage][name], became, "%s of a guard directory %q: %v", name, stage, guardOf(m))
			if name == "change" || name == "journal" {
				require.Contains(t, next.recovered(), `"after": 1`)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i, more := 0, true; more; i++ {
		m := newMachine(t, "{}")
		maker := m.doing(func(open func() *Guard) error { _, err := open().openedStore(true); return err })
		more = maker.run(i)
		look(m)
		for _, order := range []vfs.Order{vfs.AnyOrder, vfs.InOrder} {
			cuts := m.mem.Cuts(order)
			for range 10 {
				look(&machine{T: t, mem: cuts.Sample(r), boots: "+"})
			}
		}
		maker.finish(maker)
	}
	require.Len(t, seen, len(halfBorn))
}

// guardOf are the names in the guard directory, and what is in the files that count.
func guardOf(m *machine) (names []string) {
	for path, content := range m.mem.Tree() {
		if rest, ok := strings.CutPrefix(path, guardOfFile+"/"); ok {
			names = append(names, rest+"="+content)
		}
	}
	slices.Sort(names)
	return names
}

func stageOf(m *machine) string {
	tree := m.mem.Tree()
	has := func(name string) bool { _, there := tree[guardOfFile+"/"+name]; return there }
	record := func(name string) bool { return parseCommit([]byte(tree[guardOfFile+"/"+name])) != nil }
	_, settled := checked(bytes.TrimSuffix([]byte(tree[guardOfFile+"/"+settledName]), []byte("\n")))
	switch {
	case !has(""):
		return "none"
	case has("pending/") && settled:
		return "whole"
	case has("pending/"):
		return "no settled"
	case record("commit.0") && record("commit.1"):
		return "no pending"
	}
	return "no records"
}
