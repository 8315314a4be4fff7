//go:build linux && (amd64 || arm64)

package intercept

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProbe(t *testing.T) {
	f, err := Probe()
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNested) {
		t.Skipf("SKIPPED: %v", err)
	}
	require.NoError(t, err)
	require.True(t, f.Killable)
	require.True(t, f.Inject)
	require.NotEmpty(t, f.ReadMemory)
	require.NotEmpty(t, f.Kernel)
	t.Logf("%+v", f)
}

// The probe believes what it sees, not what the kernel says: without the flag a received call is interrupted.
func TestProbeSeesInterruption(t *testing.T) {
	launch := newLauncher()
	defer launch.close()
	l, err := launch.install(filter(), false)
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	var f Findings
	err = f.probeThread(launch, l)
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "WAIT_KILLABLE_RECV")
	// The thread makes its call again: let it end.
	call, err := l.next()
	require.NoError(t, err)
	l.passOn(call.id)
}

func BenchmarkProbe(b *testing.B) {
	for b.Loop() {
		if _, err := Probe(); err != nil {
			b.Skipf("SKIPPED: %v", err)
		}
	}
}
