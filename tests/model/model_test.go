package model

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var deep = flag.Bool("model.deep", false, "search the large worlds as well (20 minutes, 13 GB)")

func TestProtocolHolds(t *testing.T) {
	worlds := Worlds
	if *deep {
		worlds = slices.Concat(Worlds, DeepWorlds)
	}
	for _, w := range worlds {
		t.Run(w.String(), func(t *testing.T) {
			r := search(t, New(w, Variant{}))
			require.Equal(t, Kept, r.Breach, "%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			require.True(t, r.Complete)
		})
	}
}

// A model that holds proves something only if it can break: each weakened protocol is found out in a world in which
// the whole one holds. The trace of each is printed with -v.
func TestWeakenedProtocolsBreak(t *testing.T) {
	for _, v := range Variants {
		t.Run(v.Name, func(t *testing.T) {
			whole := search(t, New(v.World, Variant{}))
			require.Equal(t, Kept, whole.Breach, "%s\n%s", whole.Violation, strings.Join(whole.Trace, "\n"))
			require.True(t, whole.Complete)

			r := search(t, New(v.World, v))
			require.Equal(t, v.Finds, r.Breach, "%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			require.Contains(t, r.Trace[len(r.Trace)-1], r.Violation, "the trace leads to what was found")
			t.Logf("%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
		})
	}
}

func TestHarmlessChangesHold(t *testing.T) {
	for _, v := range Harmless {
		t.Run(v.Name, func(t *testing.T) {
			for _, w := range Worlds[:5] {
				r := search(t, New(w, v))
				require.Equal(t, Kept, r.Breach, "it is not harmless: %s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			}
		})
	}
}

// Every fsync costs milliseconds in each fold: none is there without a variant that needs it.
func TestEveryFsyncIsNeeded(t *testing.T) {
	named := map[step]bool{}
	for _, v := range slices.Concat(Variants, Harmless) {
		for _, s := range v.Without {
			named[s] = true
		}
	}
	for s, tr := range transitions {
		if strings.Contains(tr.label, "fsync") {
			require.True(t, named[step(s)], "no variant takes out %q", tr.label)
		}
	}
}

func TestEveryStepIsInTheOrderOnce(t *testing.T) {
	seen := map[step]int{}
	for _, sequence := range order {
		for _, s := range sequence {
			seen[s]++
		}
	}
	for s := done; s < stepCount; s++ {
		if s != stopped {
			require.Equal(t, 1, seen[s], "step %d, %q", s, transitions[s].label)
		}
	}
}

// search reports how much was looked at; long searches tell how far they are.
func search(t *testing.T, m *Model) Result {
	start, last := time.Now(), time.Now()
	r := m.Search(0, func(states, depth int) {
		if time.Since(last) > 30*time.Second {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "%s: %d states, depth %d, %v\n", m.Config, states, depth, time.Since(start).Round(time.Second))
		}
	})
	t.Logf("%s: %d states, %d transitions, %d disks recovered, %v", m.Config, r.States, r.Transitions, r.Recoveries, time.Since(start).Round(time.Millisecond))
	return r
}

// docs/fold.md gives the reason of each step by what goes wrong without it.
func TestTheDocumentNamesEveryVariant(t *testing.T) {
	raw, err := os.ReadFile("../../docs/fold.md")
	require.NoError(t, err)
	text := strings.ToLower(strings.Join(strings.Fields(string(raw)), " "))
	for _, v := range slices.Concat(Variants, Harmless) {
		require.Contains(t, text, `"`+strings.ToLower(v.Name)+`"`)
	}
	for _, v := range slices.Concat(AppendVariants, AppendHarmless) {
		require.Contains(t, text, `"`+strings.ToLower(v.Name)+`"`)
	}
}
