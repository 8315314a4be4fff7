package sidecar

import (
	"context"
	"encoding/json"
	"fmt"

	"jsonguard/merge"
)

// Two programs add documents under the same number, and go on changing their own. What is moved, and where to, has to be
// known after every crash exactly when the target has it.
func init() {
	pol := &merge.Policy{Rules: []merge.Rule{{At: "/t", Merge: merge.Renumber}, {At: "/n/*", Merge: merge.Sum}}}
	content := fmt.Sprintf(`{"keep": {"pad": %q}, "n": {}, "t": {"1": {"by": "start"}}}`+"\n", pad)
	scripts = append(scripts, &script{
		name: "renumbered", target: "a.json", content: content, options: Options{Policy: pol}, holds: ownDocuments,
		run: func(w *world) {
			g, h := w.open(), w.open()
			v, u := must(g.View(context.Background())), must(h.View(context.Background()))
			w.submitTable(u, 0, `{"2": {"by": "U"}}`)
			w.submitTable(v, 1, `{"2": {"by": "V"}}`)
			w.submitTable(v, 2, `{"2": {"seen": 1}, "3": {"by": "V2"}}`)
			w.writeCopy(v, w.editTable(readCopyOf(w, v), 3, `{"2": {"seen": 2}, "3": {"seen": 1}}`))
			w.copied |= 1 << 3
			w.kill()
			check(w.recover())
		},
	})
}

// editTable does change i and patches the table in one version.
func (w *world) editTable(content []byte, i int, patch string) []byte {
	d := must(merge.Parse(w.edit(content, i), merge.JSON))
	check(d.Do(merge.Op{Kind: merge.OpPatch, At: "/t", Value: merge.Raw(patch)}))
	return d.Bytes()
}

func (w *world) submitTable(v *View, i int, patch string) {
	w.writeCopy(v, w.editTable(readCopyOf(w, v), i, patch))
	w.copied |= 1 << i
	_, err := v.Submit(context.Background())
	check(w.done(err, i))
}

// ownDocuments: every document that was added is there once, and has what its own writer did to it, and only that.
func ownDocuments(target []byte) error {
	var doc struct {
		N map[string]int
		T map[string]struct {
			By   string
			Seen int
		}
	}
	if err := json.Unmarshal(target, &doc); err != nil {
		return err
	}
	seen := map[string]int{}
	for number, d := range doc.T {
		if _, twice := seen[d.By]; twice {
			return fmt.Errorf("document %q is there twice: %s", d.By, target)
		}
		seen[d.By] = d.Seen
		if number == "2" && d.By != "U" && doc.N["c0"] == 1 {
			return fmt.Errorf("the document of U was replaced by that of %q", d.By)
		}
	}
	want := []map[string]int{{"start": 0}, {"U": 0}, {"V": 0}, {"V": 1, "V2": 0}, {"V": 2, "V2": 1}}
	now := map[string]int{"start": 0}
	for i := range 4 {
		if doc.N[fmt.Sprintf("c%d", i)] == 1 {
			for by, n := range want[i+1] {
				now[by] = n
			}
		}
	}
	if fmt.Sprint(now) != fmt.Sprint(seen) {
		return fmt.Errorf("the table has %v, what was folded makes %v: %s", seen, now, target)
	}
	return nil
}
