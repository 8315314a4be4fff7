//go:build unix

package linearizability

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

var (
	ops   = flag.Int("ops", 3000, "calls to record")
	keys  = flag.Int("keys", 40, "keys that they are about")
	procs = flag.Int("procs", 8, "processes at work")
	kill  = flag.Bool("kill", true, "kill -9 processes in the middle of calls")
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all random choices")
)

func TestMain(m *testing.M) {
	switch os.Getenv("LINEARIZABILITY_WORKER") {
	case "history":
		os.Exit(work(os.Args[1:]))
	case "order":
		os.Exit(workInOrder(os.Args[1:]))
	}
	flag.Parse()
	os.Exit(m.Run())
}

// The kinds of calls. A key holds a number; a missing one is 0.
const (
	kindWrite = "write" // sets the key: Guard.Apply
	kindCount = "count" // reads the key and adds 1 in one step: Guard.Update
	kindRead  = "read"  // reads the key out of the file, as a program does that knows nothing of jsonguard
	kindFresh = "fresh" // reads the key: Guard.Read
)

// event is one line of a worker: a call, or its return.
type event struct {
	ID         int    `json:"id"`
	Kind       string `json:"kind,omitempty"`
	Key        int    `json:"key"`
	Value      int64  `json:"value"`      // written, or read
	Generation uint64 `json:"generation"` // of a version that has it
	At         int64  `json:"at"`         // CLOCK_MONOTONIC, ns: one clock for all processes
	Return     bool   `json:"return,omitempty"`
}

// call is an event and its return, if there was one.
type call struct {
	event
	client     int
	returned   int64 // math.MaxInt64: never
	answer     *int64
	generation uint64
}

func TestHistory(t *testing.T) {
	t.Logf("seed %d", *seed)
	file := filepath.Join(scratch(t), "registers.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o600))
	calls, killed := record(t, file)
	t.Run("EachKey", func(t *testing.T) { checkKeys(t, calls, killed) })
	t.Run("WholeDocument", func(t *testing.T) { checkOrder(t, calls) })
}

// scratch is a directory in memory, where that can be had: the order does not depend on the disk.
func scratch(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "jsonguard-order-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// record runs processes until there are enough calls.
func record(t *testing.T, file string) (calls []call, killed int) {
	self, err := os.Executable()
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(*seed, 2))
	var mu sync.Mutex
	var workers sync.WaitGroup
	next := 0 // client: each process is one
	for range *procs {
		workers.Go(func() {
			for {
				mu.Lock()
				client, done := next, len(calls) >= *ops
				next++
				lifetime := time.Hour
				if *kill && random.IntN(2) == 0 {
					lifetime = time.Duration(50+random.IntN(400)) * time.Millisecond
				}
				mu.Unlock()
				if done {
					return
				}
				mine, wasKilled := runWorker(t, self, file, client, lifetime)
				mu.Lock()
				calls = append(calls, mine...)
				if wasKilled {
					killed++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return calls, killed
}

// runWorker starts one process, and kills it after its lifetime.
func runWorker(t *testing.T, self, file string, client int, lifetime time.Duration) (calls []call, killed bool) {
	const each = 400
	cmd := exec.Command(self, file, strconv.Itoa(client), strconv.Itoa(min(each, *ops / *procs + 1)), strconv.Itoa(*keys), strconv.FormatUint(*seed, 10))
	cmd.Env = append(os.Environ(), "LINEARIZABILITY_WORKER=history")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		t.Errorf("start: %v", err)
		return nil, false
	}
	var shot atomic.Bool
	timer := time.AfterFunc(lifetime, func() { shot.Store(cmd.Process.Kill() == nil) })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			break // cut by the kill
		}
		if !e.Return {
			calls = append(calls, call{event: e, client: client, returned: math.MaxInt64})
			continue
		}
		c := &calls[len(calls)-1]
		c.returned, c.answer, c.generation = e.At, &e.Value, e.Generation
	}
	err = cmd.Wait()
	timer.Stop()
	if err != nil && stderr.Len() > 0 {
		t.Errorf("client %d: %v: %s", client, err, &stderr)
	}
	return calls, shot.Load()
}

// register is the model of one key.
var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		value, c, answer := state.(int64), input.(event), output.(*int64)
		switch c.Kind {
		case kindWrite:
			return true, c.Value
		case kindCount:
			return answer == nil || *answer == value, value + 1
		default:
			return answer == nil || *answer == value, value
		}
	},
	DescribeOperation: func(input, output any) string {
		c, answer := input.(event), output.(*int64)
		if answer == nil {
			return fmt.Sprintf("%s(%d) → ?", c.Kind, c.Value)
		}
		return fmt.Sprintf("%s(%d) → %d", c.Kind, c.Value, *answer)
	},
}

func checkKeys(t *testing.T, calls []call, killed int) {
	byKey := map[int][]porcupine.Operation{}
	unknown := 0
	for _, c := range calls {
		if c.answer == nil {
			unknown++
		}
		byKey[c.Key] = append(byKey[c.Key], porcupine.Operation{ClientId: c.client, Input: c.event, Call: c.At, Output: c.answer, Return: c.returned})
	}
	for key, history := range byKey {
		result, info := porcupine.CheckOperationsVerbose(register, history, time.Minute)
		if result != porcupine.Ok {
			picture := filepath.Join(os.TempDir(), fmt.Sprintf("jsonguard-history-%d.html", key))
			_ = porcupine.VisualizePath(register, info, picture)
			t.Errorf("key %d: %d calls: %s; seed %d; see %s", key, len(history), result, *seed, picture)
		}
	}
	t.Logf("%d calls on %d keys, %d without an answer, %d processes killed", len(calls), len(byKey), unknown, killed)
	require.GreaterOrEqual(t, len(calls), *ops)
}

// checkOrder: a change that was asked for after another had been acknowledged is in a later version. One pass over time.
func checkOrder(t *testing.T, calls []call) {
	var moments []moment[*call]
	for i := range calls {
		c := &calls[i]
		if c.answer == nil || c.generation == 0 {
			continue // a read, or nobody knows
		}
		moments = append(moments, moment[*call]{c.At, c, false}, moment[*call]{c.returned, c, true})
	}
	sortByTime(moments)
	var settled uint64
	atCall := map[*call]uint64{}
	for _, m := range moments {
		if m.returns {
			require.Greater(t, m.of.generation, atCall[m.of], "call %d of client %d is in a version that was there before it was made", m.of.ID, m.of.client)
			settled = max(settled, m.of.generation)
		} else {
			atCall[m.of] = settled
		}
	}
	t.Logf("%d changes in %d versions", len(moments)/2, settled)
	require.NotZero(t, settled)
}
