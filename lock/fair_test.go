package lock

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nobody starves: of 17 processes that all want the lock all the time, none gets less than a quarter of its share.
func TestNoneOf17ProcessesStarves(t *testing.T) {
	const enough = 20 // turns for each, in the mean, of which a quarter can be told from luck
	for long := 2 * time.Second; ; long *= 4 {
		turns, sum := turnsOf17(t, long)
		if sum < enough*len(turns) && long < time.Minute { // a slow machine
			continue
		}
		t.Log("turns:", turns)
		for _, n := range turns {
			require.Greater(t, n*len(turns)*4, sum, "turns: %v", turns)
		}
		return
	}
}

// turnsOf17 says how often each of 17 processes had the lock of a file, and all of them.
func turnsOf17(t *testing.T, long time.Duration) (turns []int, sum int) {
	path := target(t, "{}")
	var all []*process
	for range 17 {
		all = append(all, start(t, "turns", []string{path}))
	}
	for _, p := range all {
		p.expect("ready")
	}
	for _, p := range all {
		p.say("go")
	}
	time.Sleep(long)
	for _, p := range all {
		require.NoError(t, p.in.Close())
	}
	for _, p := range all {
		var n, longest int
		_, err := fmt.Sscan(p.line(), &n, &longest)
		require.NoError(t, err)
		turns = append(turns, n)
		sum += n
	}
	return turns, sum
}
