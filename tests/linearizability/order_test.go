//go:build unix

package linearizability

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

var orderOps = flag.Int("order", 20_000, "operations on keys for TestOrder")

const (
	orderKeys = 200
	eachCall  = 20 // operations
	eachLife  = 150
)

// deed is a call that sets keys to one value of its own, or a look at the whole document as a program takes it that knows
// nothing of jsonguard.
type deed struct {
	Keys       []int   `json:"keys,omitempty"` // of a call
	Value      int64   `json:"value,omitempty"`
	Seen       []int64 `json:"seen,omitempty"` // of a look: the value of each key; 0 is none
	At         int64   `json:"at"`
	Returned   int64   `json:"returned,omitempty"` // 0: never
	Generation uint64  `json:"generation,omitempty"`
}

// workInOrder is the process of one client: FILE CLIENT SEED. A call is said before it is made, and again with its answer.
func workInOrder(args []string) int {
	client, _ := strconv.Atoi(args[1])
	seed, _ := strconv.ParseUint(args[2], 10, 64)
	random := rand.New(rand.NewPCG(seed, uint64(client)))
	out := json.NewEncoder(os.Stdout) // one write each
	err := func() error {
		g, err := sidecar.Open(args[0], sidecar.Options{Timeout: 5 * time.Minute})
		if err != nil {
			return err
		}
		defer g.Close()
		// With a guard directory every change has a generation.
		ctx := context.Background()
		if err := g.Journal(ctx, merge.Op{Kind: merge.OpSet, At: fmt.Sprintf("/clients/%d", client), Value: merge.Raw("true")}); err != nil {
			return err
		}
		for i := range eachLife {
			if i%4 == 3 {
				if err := look(args[0], out); err != nil {
					return err
				}
				continue
			}
			d := deed{Value: int64(client+1)*1_000_000 + int64(i), Keys: random.Perm(orderKeys)[:eachCall]}
			ops := make([]merge.Op, 0, eachCall)
			for _, k := range d.Keys {
				ops = append(ops, merge.Op{Kind: merge.OpSet, At: fmt.Sprintf("/k%d", k), Value: number(d.Value)})
			}
			d.At = now()
			if err := out.Encode(d); err != nil {
				return err
			}
			// The generation of an Update is that of its own commit; who is folded by another learns of a version that has it.
			result, err := g.Update(ctx, func(doc *merge.Document) error { return doc.Do(ops...) })
			if err != nil {
				return err
			}
			if err := out.Encode(deed{Value: d.Value, Returned: now(), Generation: result.Generation}); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func look(file string, out *json.Encoder) error {
	d := deed{Seen: make([]int64, orderKeys), At: now()}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d.Returned = now()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(content, &doc); err != nil {
		return err
	}
	for k := range d.Seen {
		if raw, there := doc[fmt.Sprintf("k%d", k)]; there {
			if d.Seen[k], err = strconv.ParseInt(string(raw), 10, 64); err != nil {
				return err
			}
		}
	}
	return out.Encode(d)
}

func TestOrder(t *testing.T) {
	t.Logf("seed %d", *seed)
	began := time.Now()
	file := filepath.Join(scratch(t), "keys.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o600))
	deeds, killed := recordOrder(t, file)
	recorded := time.Since(began)
	began = time.Now()
	calls, looks, unknown := 0, 0, 0
	for _, d := range deeds {
		switch {
		case d.Seen != nil:
			looks++
		case d.Returned == 0:
			unknown++
			fallthrough
		default:
			calls++
		}
	}
	require.NoError(t, inOrder(deeds))
	t.Logf("%d operations in %d calls, %d of them without an answer, and %d looks at the whole document; %d processes killed; recorded in %v, checked in %v",
		calls*eachCall, calls, unknown, looks, killed, recorded.Round(time.Second), time.Since(began).Round(time.Millisecond))
}

// recordOrder lets processes live, one after the other in each of several rows, until there are enough operations.
func recordOrder(t *testing.T, file string) (deeds []*deed, killed int) {
	self, err := os.Executable()
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(*seed, 6))
	var mu sync.Mutex
	clients, calls := 0, 0
	var rows sync.WaitGroup
	for range *procs {
		rows.Go(func() {
			for {
				mu.Lock()
				client, done := clients, calls*eachCall >= *orderOps || t.Failed()
				clients++
				dies := -1 // after so many lines
				if *kill && random.IntN(4) == 0 {
					dies = random.IntN(eachLife)
				}
				mu.Unlock()
				if done {
					return
				}
				mine, err := liveInOrder(self, file, client, dies)
				mu.Lock()
				if err != nil {
					t.Errorf("client %d: %v", client, err)
				}
				if dies >= 0 {
					killed++
				}
				for _, d := range mine {
					if d.Seen == nil {
						calls++
					}
				}
				deeds = append(deeds, mine...)
				mu.Unlock()
			}
		})
	}
	rows.Wait()
	return deeds, killed
}

func liveInOrder(self, file string, client, dies int) ([]*deed, error) {
	cmd := exec.Command(self, file, strconv.Itoa(client), strconv.FormatUint(*seed, 10))
	cmd.Env = append(os.Environ(), "LINEARIZABILITY_WORKER=order", "GOMAXPROCS=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var deeds []*deed
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		if n == dies {
			_ = cmd.Process.Kill()
		}
		d := new(deed)
		if json.Unmarshal(lines.Bytes(), d) != nil {
			break // cut by the kill
		}
		if d.Seen != nil || d.Returned == 0 {
			deeds = append(deeds, d)
			continue
		}
		of := deeds[len(deeds)-1]
		of.Returned, of.Generation = d.Returned, d.Generation
	}
	if err := cmd.Wait(); err != nil && dies < 0 {
		return nil, fmt.Errorf("%w: %s", err, &stderr)
	}
	return deeds, nil
}

// inOrder goes once over time, and once over the versions. A change that was asked for after another had been acknowledged
// is in a later version. What a reader got is one version: that of the newest generation in it, or a later one that
// changed none of its keys, and none older than what had been acknowledged before it looked.
func inOrder(deeds []*deed) error {
	moments := make([]moment[*deed], 0, 2*len(deeds))
	written := map[int64]*deed{}
	for _, d := range deeds {
		switch {
		case d.Seen != nil:
			moments = append(moments, moment[*deed]{d.At, d, false})
		case d.Returned == 0:
			written[d.Value] = d // it may be seen; nobody knows when it came
		case d.Generation == 0:
			return fmt.Errorf("%d was acknowledged without a generation", d.Value)
		default:
			written[d.Value] = d
			moments = append(moments, moment[*deed]{d.At, d, false}, moment[*deed]{d.Returned, d, true})
		}
	}
	sortByTime(moments)
	versions := newVersions(deeds)
	var acknowledged uint64
	atCall := map[*deed]uint64{}
	for _, m := range moments {
		switch {
		case m.of.Seen != nil:
			if err := versions.holds(m.of, written, acknowledged); err != nil {
				return err
			}
		case !m.returns:
			atCall[m.of] = acknowledged
		case m.of.Generation <= atCall[m.of]:
			return fmt.Errorf("%d is in version %d, and version %d had been acknowledged before it was asked for", m.of.Value, m.of.Generation, atCall[m.of])
		default:
			acknowledged = max(acknowledged, m.of.Generation)
		}
	}
	return nil
}

// versions lists, for each key, the generations that set it, in order.
type versions [orderKeys][]uint64

func newVersions(deeds []*deed) *versions {
	var v versions
	known := slices.DeleteFunc(slices.Clone(deeds), func(d *deed) bool { return d.Generation == 0 })
	slices.SortFunc(known, func(a, b *deed) int { return int(a.Generation) - int(b.Generation) })
	for _, d := range known {
		for _, k := range d.Keys {
			v[k] = append(v[k], d.Generation)
		}
	}
	return &v
}

// holds says whether what was seen is one version, not older than the one that was acknowledged before.
func (v *versions) holds(seen *deed, written map[int64]*deed, acknowledged uint64) error {
	newest := acknowledged
	for k, value := range seen.Seen {
		by := written[value]
		if value != 0 && (by == nil || !slices.Contains(by.Keys, k)) {
			return fmt.Errorf("key %d holds %d, which nobody wrote there", k, value)
		}
		if by != nil {
			newest = max(newest, by.Generation)
		}
	}
	for k, value := range seen.Seen {
		by := written[value]
		if by != nil && by.Generation == 0 {
			continue // by one who was killed: later than anything that can be told
		}
		var of uint64
		if by != nil {
			of = by.Generation
		}
		next, _ := slices.BinarySearch(v[k], of+1)
		if next < len(v[k]) && v[k][next] <= newest {
			return fmt.Errorf("key %d holds %d of version %d beside what is of version %d, but version %d had set it", k, value, of, newest, v[k][next])
		}
	}
	return nil
}

// The check can fail: each of these is a history that no order explains.
func TestOrderIsSeenToBeWrong(t *testing.T) {
	write := func(value int64, generation uint64, at, returned int64, keys ...int) *deed {
		return &deed{Value: value, Generation: generation, At: at, Returned: returned, Keys: keys}
	}
	sees := func(at int64, values ...int64) *deed {
		return &deed{Seen: append(values, make([]int64, orderKeys-len(values))...), At: at, Returned: at}
	}
	right := []*deed{write(11, 1, 1, 2, 0, 1), write(12, 2, 3, 4, 0), sees(5, 12, 11), write(13, 0, 6, 0, 1), sees(7, 12, 13), sees(8, 12, 11)}
	require.NoError(t, inOrder(right))
	for name, wrong := range map[string][]*deed{
		"an earlier version after a later one":      {write(11, 2, 1, 2, 0), write(12, 1, 3, 4, 0)},
		"two versions at once":                      {write(11, 1, 1, 9, 0, 1), write(12, 2, 1, 9, 0, 1), sees(5, 12, 11)},
		"a version older than what is acknowledged": {write(11, 1, 1, 2, 0), write(12, 2, 3, 4, 0), sees(5, 11)},
		"what nobody wrote":                         {write(11, 1, 1, 2, 0), sees(5, 11, 11)},
		"nothing, after something":                  {write(11, 1, 1, 2, 0), sees(5)},
	} {
		require.Error(t, inOrder(wrong), name)
	}
}
