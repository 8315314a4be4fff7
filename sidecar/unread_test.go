package sidecar

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// What a program found in its scratch file and did not look at, it did not write from: also for who folds it, which may be anybody.
func TestWhatWasNotRead(t *testing.T) {
	if bootID() == "" {
		t.Skip("SKIPPED: no sessions here")
	}
	o := Options{Policy: &merge.Policy{Rules: []merge.Rule{{At: "/n", Merge: merge.Sum}}}}
	found, before := []byte(`{"n":2}`), []byte(`{"n":1}`)
	for name, c := range map[string]struct {
		use  func(x *Scratch, f *os.File) error
		want string
	}{
		"written": {func(_ *Scratch, f *os.File) error {
			_, err := f.WriteString(`{"n":2,"mine":1}`)
			return err
		}, `{"n":3,"mine":1}`},
		"read and written": {func(_ *Scratch, f *os.File) error {
			if _, err := io.ReadAll(f); err != nil {
				return err
			}
			_, err := f.WriteAt([]byte(`{"n":2,"mine":1}`), 0)
			return err
		}, `{"n":2,"mine":1}`},
		"read elsewhere": {func(x *Scratch, f *os.File) error {
			if err := x.TakeAsRead(); err != nil {
				return err
			}
			_, err := f.WriteString(`{"n":2,"mine":1}`)
			return err
		}, `{"n":2,"mine":1}`},
		"looked at by us": {func(x *Scratch, f *os.File) error {
			g, err := x.Open()
			if err != nil {
				return err
			}
			defer g.Close()
			if _, err := io.ReadAll(g); err != nil {
				return err
			}
			_, err = f.WriteString(`{"n":2,"mine":1}`)
			return err
		}, `{"n":3,"mine":1}`},
		"opened": {func(*Scratch, *os.File) error { return nil }, `{"n":2}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSessionTest(t, "a.json", string(found))
			a, b := s.session(o), s.session(o)
			for range 2 { // what is tried once is tried, and remembered
				require.NoError(t, os.WriteFile(s.target, found, 0o644))
				x, f, err := a.Create(Writer{}, os.O_RDWR, 0o644, found, Bases{Versions: [][]byte{found, before}, Unread: 1}, 0)
				require.NoError(t, err)
				if x.about.Unread == 0 {
					t.Skip("SKIPPED: this filesystem does not keep when a file was read")
				}
				require.False(t, x.Unread(f), "nothing was written")
				require.NoError(t, c.use(x, f))
				require.NoError(t, f.Close())
				s.fold(b)
				require.JSONEq(t, c.want, s.content())
			}
			require.NoError(t, a.Close(false))
			require.NoError(t, b.Close(false))
		})
	}
}
