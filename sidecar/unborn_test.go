package sidecar

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who folds the first time removes the directories of sessions that were never born. However far it comes while one is being made, that
// one has all that it needs, or another is made: what its programs write is in the target.
func TestASessionIsBornBesideASweep(t *testing.T) {
	for i, more := 0, true; more; i++ {
		for j, deeper := 0, true; deeper; j++ {
			m := used(t, "{}")
			writer := m.doing(func(open func() *Guard) error {
				for {
					s := &Session{g: open(), reader: open(), prepared: map[string]preparedScratch{}}
					s.g.session, s.reader.session = s, s
					err := s.make()
					if isMissing(err) || errors.Is(err, errSweptUnborn) {
						s.release()
						continue
					}
					if err == nil {
						_, err = s.Publish(Writer{PID: 7}, []byte(`{"written": 1}`), Bases{Versions: [][]byte{[]byte("{}")}}, false)
					}
					return err
				}
			})
			folder := m.doing(func(open func() *Guard) error {
				_, err := open().Apply(t.Context(), incr("/folded"))
				return err
			})
			more = writer.run(i)
			deeper = folder.run(j)
			writer.finish(folder)
			require.JSONEq(t, `{"written": 1, "folded": 1}`, m.recovered(), "the writer stopped before call %d, the folder before its call %d", i+1, j+1)
		}
	}
}
