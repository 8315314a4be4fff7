package atomicjson

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"jsonguard/merge"
)

// edits are the operations that make of doc, the value at pointer, what a program made of its own reading of it: it read
// before and left after, and doc may hold more (members that its type does not know, literals that it spells otherwise).
// What is the same in before and after is not touched; what left after, leaves doc.
func edits(pointer string, doc, before, after []byte) ([]merge.Op, error) {
	if bytes.Equal(before, after) {
		return nil, nil
	}
	if kind := kindOf(after); kindOf(doc) == kind && kindOf(before) == kind {
		switch kind {
		case '{':
			return editsOfObject(pointer, doc, before, after)
		case '[':
			return editsOfArray(pointer, doc, before, after)
		}
	}
	return []merge.Op{{Kind: merge.OpSet, At: pointer, Value: after}}, nil
}

func kindOf(raw []byte) byte {
	if raw = bytes.TrimLeft(raw, " \t\r\n"); len(raw) > 0 {
		return raw[0]
	}
	return 0
}

func editsOfObject(pointer string, doc, before, after []byte) (ops []merge.Op, err error) {
	docKeys, docAt, err := members(doc)
	if err != nil {
		return nil, err
	}
	beforeKeys, beforeAt, err := members(before)
	if err != nil {
		return nil, err
	}
	afterKeys, afterAt, err := members(after)
	if err != nil {
		return nil, err
	}
	respell(docKeys, docAt, beforeKeys, beforeAt)
	respell(docKeys, docAt, afterKeys, afterAt)
	for _, key := range docKeys {
		if _, known := beforeAt[key]; !known {
			continue
		}
		if _, kept := afterAt[key]; !kept {
			ops = append(ops, merge.Op{Kind: merge.OpDelete, At: below(pointer, key)})
		}
	}
	for _, key := range afterKeys {
		value, there := docAt[key]
		was, known := beforeAt[key]
		var more []merge.Op
		switch {
		case there && known:
			more, err = edits(below(pointer, key), value, was, afterAt[key])
		case known && bytes.Equal(was, afterAt[key]):
			// the zero value of a member that doc does not have
		default:
			more = []merge.Op{{Kind: merge.OpSet, At: below(pointer, key), Value: afterAt[key]}}
		}
		if err != nil {
			return nil, err
		}
		ops = append(ops, more...)
	}
	return ops, nil
}

func below(pointer, key string) string {
	return pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// respell gives members the names that doc has for them: encoding/json takes "Total" for the field "total".
func respell(docKeys []string, docAt map[string][]byte, keys []string, at map[string][]byte) {
	for i, key := range keys {
		if _, exact := docAt[key]; exact {
			continue
		}
		for _, name := range docKeys {
			if _, taken := at[name]; !taken && strings.EqualFold(name, key) {
				at[name] = at[key]
				delete(at, key)
				keys[i] = name
				break
			}
		}
	}
}

// editsOfArray changes elements where they are, then removes, last first, and then inserts: so each index holds when it is
// used. An element that was moved is removed and inserted with all that it holds.
func editsOfArray(pointer string, doc, before, after []byte) (ops []merge.Op, err error) {
	docs, err := elements(doc)
	if err != nil {
		return nil, err
	}
	befores, err := elements(before)
	if err != nil {
		return nil, err
	}
	afters, err := elements(after)
	if err != nil {
		return nil, err
	}
	if len(docs) != len(befores) { // the type decodes elements in a way of its own
		return []merge.Op{{Kind: merge.OpSet, At: pointer, Value: after}}, nil
	}
	from, err := origins(befores, afters)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return pointer + "/" + strconv.Itoa(i) }
	stays := make([]bool, len(befores))
	var inserts []merge.Op
	last := -1
	for j, value := range afters {
		i := from[j]
		if i > last {
			more, err := edits(at(i), docs[i], befores[i], value)
			if err != nil {
				return nil, err
			}
			ops = append(ops, more...)
			stays[i], last = true, i
			continue
		}
		if i >= 0 {
			if value, err = edited(docs[i], befores[i], value); err != nil {
				return nil, err
			}
		}
		inserts = append(inserts, merge.Op{Kind: merge.OpInsert, At: at(j), Value: value})
	}
	for i := len(befores) - 1; i >= 0; i-- {
		if !stays[i] {
			ops = append(ops, merge.Op{Kind: merge.OpRemove, At: at(i)})
		}
	}
	return append(ops, inserts...), nil
}

// edited is doc with its edits, for an element that goes to another place.
func edited(doc, before, after []byte) ([]byte, error) {
	ops, err := edits("", doc, before, after)
	if err != nil {
		return nil, err
	}
	d, err := merge.Parse(doc, merge.JSON)
	if err != nil {
		return nil, err
	}
	err = d.Do(ops...)
	return d.Bytes(), err
}

// origins says for each element of after its index in before, -1 for a new one. Equal ones are the same, in order. Between
// those, changed ones are told by their place if their number is the same, and else by what members they have kept.
func origins(before, after [][]byte) ([]int, error) {
	from := make([]int, len(after))
	used := make([]bool, len(before))
	where := map[string][]int{} // indices of equal elements, in order
	for i, b := range before {
		where[string(b)] = append(where[string(b)], i)
	}
	for j, a := range after {
		from[j] = -1
		if same := where[string(a)]; len(same) > 0 {
			from[j], used[same[0]] = same[0], true
			where[string(a)] = same[1:]
		}
	}
	// A gap lies between two neighbours that are known on both sides.
	for j := 0; j < len(after); {
		if from[j] >= 0 {
			j++
			continue
		}
		end := j
		for end < len(after) && from[end] < 0 {
			end++
		}
		first, last := 0, len(before)
		if j > 0 {
			first = from[j-1] + 1
		}
		if end < len(after) && from[end] >= first {
			last = from[end]
		}
		var free []int
		for i := first; i < last; i++ {
			if !used[i] {
				free = append(free, i)
			}
		}
		if err := pair(before, after[j:end], free, from[j:end]); err != nil {
			return nil, err
		}
		j = end
	}
	return from, nil
}

// pair fills from for the changed elements of one gap.
func pair(before, after [][]byte, free, from []int) error {
	if len(free) == len(after) {
		copy(from, free)
		return nil
	}
	for j, a := range after {
		best, most := -1, 0
		for at, i := range free {
			n, err := kept(before[i], a)
			if err != nil {
				return err
			}
			if n > most {
				best, most = at, n
			}
		}
		if best >= 0 {
			from[j] = free[best]
			free = append(free[:best:best], free[best+1:]...)
		}
	}
	return nil
}

// kept counts the members that two objects have in common.
func kept(a, b []byte) (n int, err error) {
	if kindOf(a) != '{' || kindOf(b) != '{' {
		return 0, nil
	}
	_, x, err := members(a)
	if err != nil {
		return 0, err
	}
	_, y, err := members(b)
	for key, value := range x {
		if bytes.Equal(value, y[key]) {
			n++
		}
	}
	return n, err
}

func members(object []byte) (keys []string, at map[string][]byte, err error) {
	d, err := merge.Parse(object, merge.JSON)
	if err != nil {
		return nil, nil, err
	}
	at = map[string][]byte{}
	err = d.Each(nil, func(key string, raw []byte) bool {
		if _, double := at[key]; !double {
			keys = append(keys, key)
		}
		at[key] = raw
		return true
	})
	return keys, at, err
}

func elements(array []byte) (all [][]byte, err error) {
	d, err := merge.Parse(array, merge.JSON)
	if err != nil {
		return nil, err
	}
	err = d.Each(nil, func(_ string, raw []byte) bool {
		all = append(all, raw)
		return true
	})
	return all, err
}

// decode is json.Unmarshal for what is in files: NaN and the infinities, which JSON has no word for, are decoded as null,
// and a number in an interface keeps its digits, as a json.Number.
func decode(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(withoutNaN(raw)))
	d.UseNumber()
	return d.Decode(v)
}

// withoutNaN replaces, outside of strings, what starts with a capital letter: nothing else in valid text does.
func withoutNaN(raw []byte) []byte {
	if !bytes.Contains(raw, []byte("NaN")) && !bytes.Contains(raw, []byte("Infinity")) {
		return raw
	}
	var out []byte
	inString, from := false, 0
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inString = !inString
		case c == '\\' && inString:
			i++
		case inString:
		case c == 'N' || c == 'I':
			start, word := i, len("NaN")
			if c == 'I' {
				word = len("Infinity")
				if i > 0 && raw[i-1] == '-' {
					start--
				}
			}
			out = append(append(out, raw[from:start]...), "null"...)
			from, i = i+word, i+word-1
		}
	}
	return append(out, raw[from:]...)
}
