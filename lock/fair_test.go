package lock

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nobody starves: of 17 processes that all want the lock all the time, none gets less than a quarter of its share.
func TestNoneOf17ProcessesStarves(t *testing.T) {
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
	time.Sleep(2 * time.Second)
	var turns []int
	sum := 0
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
	t.Log("turns:", turns)
	for _, n := range turns {
		require.Greater(t, n*len(turns)*4, sum, "turns: %v", turns)
	}
}
