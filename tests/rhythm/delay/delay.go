//go:build linux

// Package delay is what the points of an instrumented jsonguard call: at the one or two that a plan names, a process sleeps now and
// then. It is compiled into what tests/rhythm builds with an overlay, and into nothing else. It promises nothing but that: a
// process that was given no plan goes on at once.
package delay

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Environment variables.
const (
	Plan   = "RHYTHM_PLAN"   // see Stop
	Counts = "RHYTHM_COUNTS" // a file with a word of four bytes for each point, in which it is counted who comes by; none: nobody counts
)

// Stop is what happens at one point. A plan is some of them, each as String has it, separated by commas.
type Stop struct {
	Point      int
	Slow       int // of a hundred processes, so many are slow there
	Odds       int // of a hundred times that a slow process comes by, it sleeps so many
	From, To   int // for so many milliseconds
	Altogether int // milliseconds in one process, after which it is slow no more
}

const format = "%d:%d:%d:%d:%d:%d"

func (s Stop) String() string {
	return fmt.Sprintf(format, s.Point, s.Slow, s.Odds, s.From, s.To, s.Altogether)
}

// Parse reads what String wrote.
func Parse(text string) (s Stop, err error) {
	_, err = fmt.Sscanf(text, format, &s.Point, &s.Slow, &s.Odds, &s.From, &s.To, &s.Altogether)
	return s, err
}

type stop struct {
	Stop
	left atomic.Int64 // milliseconds
}

var (
	stops  []*stop
	counts []uint32
)

func init() {
	for text := os.Getenv(Plan); text != ""; {
		var one string
		one, text = cut(text)
		s, err := Parse(one)
		if err != nil {
			panic(Plan + ": " + err.Error())
		}
		if rand.IntN(100) < s.Slow {
			made := &stop{Stop: s}
			made.left.Store(int64(s.Altogether))
			stops = append(stops, made)
		}
	}
	if path := os.Getenv(Counts); path != "" {
		count(path)
	}
}

func cut(text string) (one, rest string) {
	for i := range len(text) {
		if text[i] == ',' {
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// count shares the words with all other processes: one that is killed has counted until then.
func count(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return // a program under exec may have become somebody else
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		panic(err)
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	counts = unsafe.Slice((*uint32)(unsafe.Pointer(&memory[0])), len(memory)/4)
}

// At is called when a process comes by a point.
func At(point int) {
	if counts != nil {
		atomic.AddUint32(&counts[point], 1)
	}
	for _, s := range stops {
		if s.Point == point {
			s.sleep()
		}
	}
}

func (s *stop) sleep() {
	if rand.IntN(100) >= s.Odds {
		return
	}
	long := int64(s.From + rand.IntN(s.To-s.From+1))
	if s.left.Add(-long) < 0 {
		return
	}
	time.Sleep(time.Duration(long) * time.Millisecond)
}
