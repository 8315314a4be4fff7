package merge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// results is a document as test runners write it, of about size bytes, as Python's json.dump(indent=2) would.
func results(size int, rename func(i int) string) []byte {
	var b bytes.Buffer
	b.WriteString("{\n  \"models\": {")
	for i := 0; b.Len() < size; i++ {
		if i%1000 == 0 {
			if i > 0 {
				b.WriteString("\n      ]\n    },")
			}
			fmt.Fprintf(&b, "\n    \"model-%d\": {\n      \"success_rate\": 0.%d,\n      \"runs\": [", i/1000, i%97)
		} else {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n        {\n          \"id\": %d,\n          \"prompt\": \"%s\",\n          \"ok\": %t,\n          \"seconds\": %d.%02d,\n          \"tags\": [\n            \"a\",\n            \"b\"\n          ]\n        }",
			i, rename(i), i%3 == 0, i%60, i%100)
	}
	b.WriteString("\n      ]\n    }\n  }\n}\n")
	return b.Bytes()
}

func prompt(i int) string { return fmt.Sprintf("Summarise text number %d in three sentences.", i) }

func changedAt(places ...int) func(i int) string {
	return func(i int) string {
		for _, p := range places {
			if i == p {
				return "changed to something of another length"
			}
		}
		return prompt(i)
	}
}

func BenchmarkValid(b *testing.B) {
	doc := results(16<<20, prompt)
	strings := []byte(`["` + strings.Repeat("Plain text without any escape at all. ", 16<<20/39) + `"]`)
	numbers := joinedNumbers(16<<20, -1)
	for _, c := range []struct {
		name string
		doc  []byte
	}{{"results", doc}, {"one-string", strings}, {"numbers", numbers}} {
		b.Run(c.name+"/jsonguard", func(b *testing.B) {
			b.SetBytes(int64(len(c.doc)))
			for b.Loop() {
				if err := merge.Valid(c.doc, merge.JSON); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/jsontext", func(b *testing.B) {
			b.SetBytes(int64(len(c.doc)))
			for b.Loop() {
				d := jsontext.NewDecoder(bytes.NewBuffer(c.doc), jsontext.AllowDuplicateNames(true))
				if _, err := d.ReadValue(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(c.doc)))
			for b.Loop() {
				if !json.Valid(c.doc) {
					b.Fatal("not valid")
				}
			}
		})
	}
}

// joinedNumbers is an array of numbers, the worst case for whoever remembers elements; one is changed.
func joinedNumbers(size, changed int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d.%d", i, i%10)
		if i == changed {
			b.WriteByte('5')
		}
	}
	b.WriteByte(']')
	return b.Bytes()
}

// The whole three-way merge of a 100 MB document: a runner wrote all of it anew, with one record changed, and theirs
// changed another. B/doc is everything that was allocated beside the three inputs, in bytes for each byte of the document.
func BenchmarkMerge100MB(b *testing.B) {
	const size = 100 << 20
	base, theirs := results(size, prompt), results(size, changedAt(1234))
	restyled := bytes.ReplaceAll(bytes.ReplaceAll(results(size, changedAt(70_000)), []byte("\n"), []byte("\n ")), []byte("\": "), []byte("\":  "))
	for _, c := range []struct {
		name               string
		base, ours, theirs []byte
	}{
		{"one-record", base, results(size, changedAt(70_000)), theirs},
		{"restyled", base, restyled, theirs},
		{"array-of-numbers", joinedNumbers(size, -1), joinedNumbers(size, 70_000), joinedNumbers(size, 1234)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			var perByte float64
			for b.Loop() {
				perByte = allocatedPerByte(b, c.base, c.ours, c.theirs)
			}
			b.ReportMetric(perByte, "B/doc")
		})
	}
}

func allocatedPerByte(t testing.TB, base, ours, theirs []byte) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, _, err := merge.Merge(base, ours, theirs, merge.JSON, nil)
	runtime.ReadMemStats(&after)
	if err != nil || len(out) < len(base)/10*9 {
		t.Fatal(err, len(out))
	}
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(len(base))
}

// What a merge allocates is bounded by the size of the document, whoever restyled it.
func TestMemoryOfAMerge(t *testing.T) {
	if instrumented {
		t.Skip("the race detector allocates, too")
	}
	const size = 4 << 20
	base, ours, theirs := results(size, prompt), results(size, changedAt(7_000)), results(size, changedAt(1234))
	restyled := bytes.ReplaceAll(ours, []byte("\n"), []byte("\n "))
	require.Less(t, allocatedPerByte(t, base, ours, theirs), 1.2)
	require.Less(t, allocatedPerByte(t, base, restyled, theirs), 1.4)
}
