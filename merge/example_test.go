package merge_test

import (
	"fmt"
	"log"

	"jsonguard/merge"
)

func ExampleMerge() {
	base := []byte(`{"total": 5, "name": "x", "rate": 1.10}`)
	ours := []byte(`{"total": 6, "name": "y", "rate": 1.1}`)                 // one more, and spelled anew
	theirs := []byte(`{"total": 7, "name": "z", "rate": 1.10, "new": true}`) // two more, meanwhile

	policy := &merge.Policy{Rules: []merge.Rule{{At: "/total", Merge: merge.Sum}}}
	text, outcome, err := merge.Merge(base, ours, theirs, merge.JSON, policy)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	for _, c := range outcome.Conflicts {
		fmt.Printf("%s: was %s, ours %s, theirs %s, taken: %s\n", c.At, c.Base, c.Ours, c.Theirs, c.Taken)
	}
	// Output:
	// {"total": 8, "name": "y", "rate": 1.10, "new": true}
	// /name: was "x", ours "y", theirs "z", taken: ours
}

func ExampleDocument() {
	d, err := merge.Parse([]byte("{\n    \"rate\": 1.10,\n    \"runs\": [1]\n}\n"), merge.JSON)
	if err != nil {
		log.Fatal(err)
	}
	err = d.Do(
		merge.Op{Kind: merge.OpAppend, At: "/runs", Value: merge.Raw("2")},
		merge.Op{Kind: merge.OpSet, At: "/done", Value: merge.Raw("true")})
	if err != nil {
		log.Fatal(err)
	}
	runs, _ := d.Get(merge.Pointer{"runs"})
	fmt.Printf("%s\n%s", runs, d.Bytes())
	// Output:
	// [1, 2]
	// {
	//     "rate": 1.10,
	//     "runs": [1, 2],
	//     "done": true
	// }
}
