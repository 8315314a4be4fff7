package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

// lineQueue is what was read and not yet done. It bounds how many lines are done in one rewrite, how long the first
// of them waits for its acknowledgement, and what is held in memory.
type lineQueue struct {
	mu      sync.Mutex
	changed sync.Cond
	lines   [][]byte
	size    int // bytes in lines
	err     error
	ended   bool
}

// 100,000 sets that made a file of 2 MB took 25 s with 256 lines at once, 2 s with 4096.
const (
	linesAtOnce = 4096
	bytesAtOnce = 16 << 20 // or one line, whatever its size
)

// readLines reads until the end in a goroutine of its own.
func readLines(in io.Reader) *lineQueue {
	q := &lineQueue{}
	q.changed.L = &q.mu
	go func() {
		buffered := bufio.NewReaderSize(in, 1<<16)
		for {
			line, err := buffered.ReadBytes('\n')
			if len(bytes.TrimSpace(line)) > 0 {
				q.put(line)
			}
			if err != nil {
				q.end(err)
				return
			}
		}
	}()
	return q
}

func (q *lineQueue) put(line []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lines) >= linesAtOnce || len(q.lines) > 0 && q.size+len(line) > bytesAtOnce {
		q.changed.Wait()
	}
	q.lines, q.size = append(q.lines, line), q.size+len(line)
	q.changed.Broadcast()
}

func (q *lineQueue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	if !errors.Is(err, io.EOF) {
		q.err = err
	}
	q.changed.Broadcast()
}

// take returns everything that waits, at least one line; none: the input ended, or ctx did.
func (q *lineQueue) take(ctx context.Context) [][]byte {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lines) == 0 && !q.ended && ctx.Err() == nil {
		q.changed.Wait()
	}
	if ctx.Err() != nil {
		return nil
	}
	lines := q.lines
	q.lines, q.size = nil, 0
	q.changed.Broadcast()
	return lines
}
