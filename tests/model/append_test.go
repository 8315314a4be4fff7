package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendsHold(t *testing.T) {
	for _, w := range AppendWorlds {
		t.Run(w.String(), func(t *testing.T) {
			r := newAppendModel(w, AppendVariant{}).search()
			t.Logf("%d states, %d transitions", r.States, r.Transitions)
			require.Equal(t, Kept, r.Breach, "%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			require.True(t, r.Complete)
		})
	}
}

func TestHarmlessAppendsHold(t *testing.T) {
	for _, v := range AppendHarmless {
		for _, w := range AppendWorlds {
			r := newAppendModel(w, v).search()
			require.Equal(t, Kept, r.Breach, "%s\n%s", r.Violation, strings.Join(r.Trace, "\n"))
		}
	}
}

func TestWeakenedAppendsBreak(t *testing.T) {
	for _, v := range AppendVariants {
		t.Run(v.Name, func(t *testing.T) {
			whole := newAppendModel(v.World, AppendVariant{}).search()
			require.Equal(t, Kept, whole.Breach, "%s\n%s", whole.Violation, strings.Join(whole.Trace, "\n"))
			r := newAppendModel(v.World, v).search()
			t.Logf("%d of %d states\n%s", r.States, whole.States, strings.Join(r.Trace, "\n"))
			require.Equal(t, v.Finds, r.Breach, r.Violation)
		})
	}
}
