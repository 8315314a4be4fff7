//go:build unix

package linearizability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// worker is the process of one client: FILE CLIENT CALLS KEYS SEED.
type worker struct {
	file string
	g    *sidecar.Guard
}

func work(args []string) int {
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(args[i+1])
	}
	client, calls, keys := n[0], n[1], n[2]
	random := rand.New(rand.NewPCG(uint64(n[3]), uint64(client)))
	g, err := sidecar.Open(args[0], sidecar.Options{Timeout: 2 * time.Minute})
	if err == nil {
		// With a guard directory every change has a generation.
		err = g.Journal(context.Background(), merge.Op{Kind: merge.OpSet, At: fmt.Sprintf("/clients/%d", client), Value: merge.Raw("true")})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer g.Close()
	w := worker{args[0], g}
	for i := range calls {
		e := event{
			ID: i, Kind: []string{kindWrite, kindCount, kindRead, kindFresh}[random.IntN(4)], Key: random.IntN(keys),
			Value: int64(client+1)*1_000_000_000 + int64(i)*10_000, // room to count from it
		}
		e.At = now()
		say(e)
		answer, err := w.do(e)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		answer.At, answer.Return = now(), true
		say(answer)
	}
	return 0
}

// say is one write, so that a kill leaves whole lines.
func say(e event) {
	line, _ := json.Marshal(e)
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func (w worker) do(e event) (event, error) {
	at := fmt.Sprintf("/k%d", e.Key)
	switch e.Kind {
	case kindWrite:
		r, err := w.g.Apply(context.Background(), merge.Op{Kind: merge.OpSet, At: at, Value: number(e.Value)})
		return event{ID: e.ID, Generation: r.Generation}, err
	case kindCount:
		var before int64
		r, err := w.g.Update(context.Background(), func(d *merge.Document) (err error) {
			if before, err = valueAt(d, at); err != nil {
				return err
			}
			return d.Do(merge.Op{Kind: merge.OpSet, At: at, Value: number(before + 1)})
		})
		return event{ID: e.ID, Value: before, Generation: r.Generation}, err
	case kindFresh:
		content, err := w.g.Read(context.Background())
		return read(e, at, content, err)
	default:
		content, err := os.ReadFile(w.file)
		return read(e, at, content, err)
	}
}

func number(n int64) merge.Raw { return merge.Raw(strconv.FormatInt(n, 10)) }

func read(e event, at string, content []byte, err error) (event, error) {
	if err != nil {
		return event{}, err
	}
	doc, err := merge.Parse(content, merge.JSON)
	if err != nil {
		return event{}, err
	}
	value, err := valueAt(doc, at)
	return event{ID: e.ID, Value: value}, err
}

func valueAt(d *merge.Document, at string) (int64, error) {
	p, err := merge.ParsePointer(at)
	if err != nil {
		return 0, err
	}
	raw, err := d.Get(p)
	if errors.Is(err, merge.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(raw), 10, 64)
}
