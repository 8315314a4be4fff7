package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// listOf is a document whose records stand in a list.
func listOf(size int) []byte {
	var b bytes.Buffer
	b.WriteString("{\n \"records\": [\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "  {\"id\": %d, \"score\": %d, \"note\": \"lorem ipsum %d\"},\n", i, i%7, i%3)
	}
	b.WriteString("  {\"id\": -1}\n ],\n \"of\": {\n  \"n\": 1,\n  \"twice\": 2\n }\n}\n")
	return b.Bytes()
}

// Two programs put elements into a list and take some out, under two supervisors: by their excerpts the list is folded to what the texts
// are merged to, and what is in conflict stands in the same places.
func TestLargeListsAreFoldedToWhatTheyMergeTo(t *testing.T) {
	base := listOf(Large + Large/4)
	element := func(i int) string {
		return fmt.Sprintf("  {\"id\": %d, \"score\": %d, \"note\": \"lorem ipsum %d\"},\n", i, i%7, i%3)
	}
	random := rand.New(rand.NewPCG(5, 3))
	edited := func(text []byte, by, only int) []byte {
		text = replacedIn(text, element(9000), fmt.Sprintf("  {\"id\": 9000, \"score\": %d, \"note\": \"lorem ipsum %d\"},\n", 9000+by, 9000%3))
		for range 4 {
			at := 500 + random.IntN(15000)
			switch random.IntN(only) {
			case 0:
				text = replacedIn(text, element(at), fmt.Sprintf("%s  {\"id\": %d},\n", element(at), random.IntN(3)-1e6))
			case 1:
				text = replacedIn(text, element(at), "")
			case 2:
				text = replacedIn(text, element(at), fmt.Sprintf("  {\"id\": %d, \"score\": -%d, \"note\": \"lorem ipsum %d\"},\n", at, by, at%3))
			default: // written in another way
				text = replacedIn(text, element(at), fmt.Sprintf("  {\"id\": %d.0, \"score\": %d, \"note\": \"lorem ipsum %d\"},\n", at, at%7, at%3))
			}
		}
		return replacedIn(text, "{\"id\": -1}\n", fmt.Sprintf("{\"id\": -1},\n  {\"id\": -%d0}\n", by), "\"n\": 1,", fmt.Sprintf("\"n\": %d,", by))
	}
	for name, policy := range map[string]string{
		"append": `{"rules": [{"at": "/records", "merge": "append"}]}`, "set": `{"rules": [{"at": "/records", "merge": "set"}]}`,
		"keyed":             `{"rules": [{"at": "/records", "merge": "keyed", "key": ["id"]}]}`,
		"first":             `{"rules": [{"at": "/records/*", "merge": "first"}]}`,
		"none, and derived": `{"rules": [{"at": "/of/n", "merge": "sum"}, {"at": "/of/twice", "derive": ".n * 2"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 2 {
				target := underPolicy(t, policy, "a.json", string(edited(base, 2, 4)))
				s := &sessionTest{t, target}
				before := []byte(s.content())
				a, b := s.session(Options{}), s.session(Options{})
				byA, byB := edited(base, 3, 1+3*round), edited(before, 4, 4)
				s.write(a, string(byA), string(base))
				s.write(b, string(byB), string(before), string(base))
				pol := a.g.Policy()
				first, err := merge.Diff(base, byA, merge.JSON, pol)
				require.NoError(t, err)
				bases := [][]byte{before, base}
				second, err := merge.Diff(bases[merge.MadeFrom(byB, bases, 0, merge.JSON, pol)], byB, merge.JSON, pol)
				require.NoError(t, err)
				doc, err := merge.Parse(before, merge.JSON)
				require.NoError(t, err)
				var places []string
				for _, change := range []*merge.Change{first, second} {
					outcome, err := doc.Merge(change, pol)
					require.NoError(t, err)
					for _, c := range outcome.Conflicts {
						places = append(places, c.At+" "+c.Reason)
					}
				}
				require.Empty(t, doc.Derive(context.Background(), before, pol))
				r := s.fold(b)
				require.Equal(t, 2, r.Folded)
				require.True(t, string(doc.Bytes()) == s.content(), "round %d", round)
				var said []string
				for _, c := range r.Conflicts {
					said = append(said, c.At+" "+c.Reason)
				}
				require.Equal(t, places, said, "round %d", round)
				require.Zero(t, s.fold(a).Folded, "once")
				require.NoError(t, a.Close(false))
				require.NoError(t, b.Close(false))
			}
		})
	}
}

// Of lists that two programs write no more than what differs is ever in memory, and eight bytes for each element while they are paired.
func TestMemoryOfListsThatAreMerged(t *testing.T) {
	base := listOf(8 << 20)
	element := func(i int) string {
		return fmt.Sprintf("  {\"id\": %d, \"score\": %d, \"note\": \"lorem ipsum %d\"},\n", i, i%7, i%3)
	}
	put := func(text []byte, at, gone int) []byte {
		return replacedIn(text, element(at), fmt.Sprintf("%s  {\"id\": -%d},\n", element(at), at), element(gone), "")
	}
	for name, policy := range map[string]string{
		"none": `{}`, "append": `{"rules": [{"at": "/records", "merge": "append"}]}`, "set": `{"rules": [{"at": "/records", "merge": "set"}]}`,
		"keyed": `{"rules": [{"at": "/records", "merge": "keyed", "key": ["id"]}]}`, "derived": `{"rules": [{"at": "/of/twice", "derive": ".n * 2"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			theirs := replacedIn(base, `"n": 1`, `"n": 5`)
			s := &sessionTest{t, underPolicy(t, policy, "a.json", string(theirs))}
			a, b := s.session(Options{}), s.session(Options{})
			s.write(a, string(put(base, 40000, 60000)), string(base))
			s.write(b, string(put(theirs, 50000, 20000)), string(theirs), string(base))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := s.fold(b)
			runtime.ReadMemStats(&after)
			require.Equal(t, 2, r.Folded)
			t.Logf("%.1f of %.1f MB", float64(after.TotalAlloc-before.TotalAlloc)/1e6, float64(len(base))/1e6)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(3*len(base)), "all that was ever allocated: merged in memory, several times as much")
		})
	}
}
