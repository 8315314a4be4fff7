package main

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A write is taken for complete when the copy was quiet for a moment (fsnotify does not pass on that a writer closed
// it), or at the latest after a while of unbroken writing; what does not parse then is left to the next moment.
const (
	quietFor = 30 * time.Millisecond
	atLatest = 500 * time.Millisecond
)

// watch submits what the program writes until ctx ends; done is closed when it will not submit any more. Without a
// watch (the system may have no more of them) everything is merged when the program ends.
func (r *copyRun) watch(ctx context.Context) (done chan struct{}) {
	done = make(chan struct{})
	w, err := fsnotify.NewWatcher()
	if err == nil {
		// The directory: a watch on the file dies with the first rename over it.
		if err = w.Add(filepath.Dir(r.view.Path())); err != nil {
			_ = w.Close()
		}
	}
	if err != nil {
		r.a.note("exec: cannot watch the copy (%v); it is merged when the program ends", err)
		close(done)
		return done
	}
	go func() {
		defer close(done)
		defer w.Close()
		r.follow(ctx, w)
	}()
	return done
}

func (r *copyRun) follow(ctx context.Context, w *fsnotify.Watcher) {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	var first time.Time // of the writes that wait; zero: none
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if e.Name != r.view.Path() || !e.Has(fsnotify.Write|fsnotify.Create|fsnotify.Rename) {
				continue
			}
			if first.IsZero() {
				first = time.Now()
			}
			quiet.Reset(min(quietFor, max(0, atLatest-time.Since(first))))
		case <-w.Errors: // an overflow: something was written
			quiet.Reset(quietFor)
		case <-quiet.C:
			first = time.Time{}
			r.submit(ctx)
		}
	}
}

// fileStamp tells whether a file was replaced or written.
type fileStamp struct {
	exists bool
	size   int64
	mtime  time.Time
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{true, info.Size(), info.ModTime()}
}

// stampContent is "" for a file that cannot be read.
func stampContent(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(content)
	return string(sum[:])
}
