package lock

import (
	"context"
	"testing"
)

// What a lock costs that nobody else wants: of the file, of the file when its holder is noted, of a pointer, and where a
// lease stands in.
func BenchmarkAcquire(b *testing.B) {
	for _, c := range []struct {
		name  string
		guard bool
		opts  []Option
	}{{"file", false, nil}, {"noted", true, nil}, {"pointer", true, []Option{At("/models/x")}}} {
		b.Run(c.name, func(b *testing.B) {
			path := b.TempDir() + "/results.json"
			if c.guard {
				if _, err := MakeGuardDir(path); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				l, err := Acquire(context.Background(), path, c.opts...)
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Release(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("lease", func(b *testing.B) {
		path := b.TempDir() + "/results.json"
		for b.Loop() {
			l, err := takeLease(context.Background(), path, options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := l.release(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
