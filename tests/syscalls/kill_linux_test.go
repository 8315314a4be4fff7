package syscalls

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	single = flag.Int("single", 40, "kill points to try; 0: every one")
	double = flag.Int("double", 30, "pairs of a kill and a kill in its recovery; 0: every one")
)

// killPoint is a moment at which a verb is killed.
type killPoint struct {
	s *scenario
	point
}

func (k killPoint) String() string { return fmt.Sprintf("%s, killed at %s", k.s.name, k.point) }

func (p point) kill() []string {
	return []string{"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", p.call, p.n)}
}

// killed is the scenario, stopped at that point. acknowledged: it was not killed there, and ended with success.
func (k killPoint) killed() (r *run, acknowledged bool, err error) {
	if r, err = k.s.start(); err != nil {
		return nil, false, err
	}
	o, err := finish(r.traced(k.call, k.kill(), k.s.args...))
	return r, o.acknowledged(), err
}

func killPoints(t *testing.T) []killPoint {
	var all []killPoint
	for _, s := range prepared(t) {
		r, err := s.start()
		require.NoError(t, err)
		points, err := r.points(changing, s.args...)
		require.NoError(t, err)
		require.NoError(t, r.check(true), "%s, nobody killed", s.name)
		r.end()
		for _, p := range points {
			all = append(all, killPoint{s, p})
		}
	}
	return selected(all)
}

// TestKillPoints kills a verb at the entry of each of its calls, and then the recovery of that at each of its own.
func TestKillPoints(t *testing.T) {
	needsStrace(t)
	t.Logf("seed %d", *seed)
	began := time.Now()
	all := killPoints(t)
	var kills atomic.Int64
	singles := chosen(all, *single)
	each(t, singles, func(k killPoint) error {
		r, acknowledged, err := k.killed()
		if err != nil {
			return err
		}
		defer r.end()
		if !acknowledged {
			kills.Add(1)
		}
		if err := r.check(acknowledged); err != nil {
			return fmt.Errorf("%v: %w", k, err)
		}
		return nil
	})
	t.Logf("%d scenarios, %d kill points; %d of them tried, %d killed there, in %v", len(scenarios), len(all), len(singles), kills.Load(), time.Since(began).Round(time.Second))
	if t.Failed() {
		return
	}
	began = time.Now()
	var budget atomic.Int64
	budget.Store(int64(*double))
	var doubles atomic.Int64
	each(t, chosen(all, 0), func(k killPoint) error {
		if *double > 0 && budget.Load() <= 0 {
			return nil
		}
		r, _, err := k.killed()
		if err != nil {
			return err
		}
		defer r.end()
		recoveryPoints, err := r.points(changing, recovery...)
		if err != nil {
			return err
		}
		const eachFirst = 6
		n := eachFirst
		if *double == 0 {
			n = 0
		}
		for _, second := range chosen(recoveryPoints, n) {
			if *double > 0 && budget.Add(-1) < 0 {
				break
			}
			doubles.Add(1)
			if err := k.again(second); err != nil {
				return fmt.Errorf("%v, its recovery at %s: %w", k, second, err)
			}
		}
		return nil
	})
	t.Logf("%d pairs tried, in %v", doubles.Load(), time.Since(began).Round(time.Second))
	if !t.Failed() && *double > 0 && *only == "" {
		require.EqualValues(t, *double, doubles.Load())
	}
}

// again kills the recovery, too.
func (k killPoint) again(second point) error {
	r, acknowledged, err := k.killed()
	if err != nil {
		return err
	}
	defer r.end()
	if _, err := finish(r.traced(second.call, second.kill(), recovery...)); err != nil {
		return err
	}
	return r.check(acknowledged)
}
