package merge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireAlike holds a text that is parsed beside another one to what Parse makes of it: the verdict, the place of the
// error, and an index that is true.
func requireAlike(t *testing.T, base, src []byte, f Format) {
	t.Helper()
	like, err := Parse(base, f)
	if err != nil {
		return
	}
	want, wantErr := Parse(src, f)
	got, gotErr := like.parseAlike(src, commonEnds(base, src))
	require.Equal(t, wantErr, gotErr, "%q beside %q", src, base)
	again, _ := Parse(src, f)
	requireReadAlike(t, like, src, again)
	if wantErr != nil {
		return
	}
	require.Equal(t, string(want.lead), string(got.lead))
	require.Equal(t, string(want.trail), string(got.trail))
	require.Equal(t, want.root == nil, got.root == nil)
	if want.root == nil {
		return
	}
	require.Equal(t, string(want.root.raw), string(got.root.raw))
	require.Equal(t, want.root.off, got.root.off)
	requireTrue(t, got.root.ext, src)
	requireSameTree(t, want.root, got.root)
}

// requireReadAlike holds a text that is read beside base, and not kept, to the document that it is; nil: it is none.
func requireReadAlike(t *testing.T, base *Document, src []byte, want *Document) {
	t.Helper()
	c := &Change{base: base, ours: base}
	got, err := c.ReadTheirs(bytes.NewReader(src), int64(len(src)))
	require.NoError(t, err)
	if got == nil {
		return
	}
	readAlike++
	require.NotNil(t, want, "%q", src)
	require.False(t, got.Changed())
	require.Equal(t, string(src), string(got.Bytes()))
	require.Equal(t, *want.styleOf(), *got.styleOf())
	require.True(t, got.is(want))
	require.Equal(t, bytes.Equal(src, base.src), got.is(base))
	requireSameValues(t, want.root, got.root)
	longer, err := c.ReadTheirs(bytes.NewReader(append(src[:len(src):len(src)], ' ')), int64(len(src)))
	require.NoError(t, err)
	require.Nil(t, longer)
	shorter, err := c.ReadTheirs(bytes.NewReader(src[:len(src)-1]), int64(len(src)))
	require.NoError(t, err)
	require.Nil(t, shorter)
}

var readAlike, inHalves int

// requireHalves: what two readers take for valid is, and their index is true.
func requireHalves(t *testing.T, src []byte) {
	t.Helper()
	middle := endInTheMiddle(src)
	if middle < 0 {
		return
	}
	if x := indexFromBoth(src, middle); x != nil {
		inHalves++
		require.NoError(t, Valid(src, JSON), "%q", src)
		x.seal()
		requireTrue(t, x, src)
	}
}

func requireSameValues(t *testing.T, want, got *node) {
	t.Helper()
	require.Equal(t, want.kind, got.kind)
	want.expand()
	got.expand()
	require.Equal(t, want.len(), got.len())
	for i := range want.kids {
		if want.kind == kindObject {
			require.Equal(t, string(want.key(i)), string(got.key(i)))
		}
		require.Equal(t, string(want.rawChild(i)), string(got.rawChild(i)))
		require.Equal(t, string(want.after(i)), string(got.after(i)))
	}
	for i := range want.kids {
		if want.value(i).kind.container() {
			requireSameValues(t, want.value(i), got.value(i))
		}
	}
}

func requireTrue(t *testing.T, x *extents, src []byte) {
	t.Helper()
	require.True(t, slices.IsSortedFunc(x.list, func(a, b extent) int { return a.start - b.start }))
	for _, e := range x.list {
		end, err := scanValue(src, e.start)
		require.NoError(t, err)
		require.Equal(t, end, e.end)
		require.Contains(t, "{[", string(src[e.start]))
		if e.print != 0 {
			require.Equal(t, fingerprint(src[e.start:end]), e.print)
		}
	}
	require.True(t, slices.IsSortedFunc(x.wide, func(a, b wide) int { return a.start - b.start }))
	for _, w := range x.wide {
		n := &node{kind: kindOfText(src[w.start:]), raw: src[w.start:]}
		n.expand()
		require.Len(t, w.ends, len(n.kids))
		for i := range n.kids {
			require.Equal(t, n.end(i), int(w.ends[i]))
		}
	}
}

func requireSameTree(t *testing.T, want, got *node) {
	t.Helper()
	want.expand()
	got.expand()
	require.Equal(t, want.kids, got.kids)
	require.Equal(t, string(want.head), string(got.head))
	require.Equal(t, string(want.tail), string(got.tail))
	if !want.kind.container() {
		return
	}
	for i := range want.kids {
		requireSameTree(t, want.value(i), got.value(i))
	}
}

func TestParsedBesideAnother(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	value := func() string {
		return []string{`1`, `12`, `-0.5e3`, `"a"`, `"\\"`, `"\""`, `"é"`, `true`, `null`, `[]`, `{}`, `[1,2]`, `{"a": [1, {"b": 2}]}`, `"` + strings.Repeat("x", 700) + `"`}[random.IntN(14)]
	}
	var container func(depth int) string
	container = func(depth int) string {
		var b strings.Builder
		brackets := []string{"[]", "{}"}[random.IntN(2)]
		b.WriteByte(brackets[0])
		for i := range []int{0, 1, 3, 10, 300}[random.IntN(4+depth/3)] {
			if i > 0 {
				b.WriteString(", ")
			}
			if brackets == "{}" {
				fmt.Fprintf(&b, "%q: ", fmt.Sprint("k", random.IntN(500)))
			}
			if depth > 0 && random.IntN(4) == 0 {
				b.WriteString(container(depth - 1))
			} else {
				b.WriteString(value())
			}
		}
		b.WriteByte(brackets[1])
		return b.String()
	}
	edit := func(s string) string {
		at := random.IntN(len(s) + 1)
		if random.IntN(3) > 0 { // behind a value
			at = max(0, strings.LastIndexAny(s[:at], ",]}"))
			return s[:at] + []string{"", " ", ", 7", `, "new": [1, 2]`}[random.IntN(4)] + s[at:]
		}
		upTo := min(len(s), at+[]int{0, 0, 1, 2, 9, 80}[random.IntN(6)])
		in := []string{"", "1", `"`, `\`, ",", "]", "}", "[", "{", ":", "\n", `"x": 1, `, "[1], ", " ", "é", "\x80"}[random.IntN(16)]
		return s[:at] + in + s[upTo:]
	}
	valid := 0
	for range 600 {
		base := container(3)
		f := Format(random.IntN(8) / 7)
		if f == Lines {
			base = strings.Repeat(base+"\n", 1+random.IntN(4)) + value() + strings.Repeat("\n", random.IntN(2))
		}
		src := edit(base)
		if random.IntN(3) == 0 {
			src = edit(src)
		}
		requireAlike(t, []byte(base), []byte(src), f)
		requireHalves(t, []byte(strings.ReplaceAll(src, ", ", " ,\n")))
		if Valid([]byte(src), f) == nil && !bytes.Equal([]byte(base), []byte(src)) {
			valid++
		}
	}
	require.Greater(t, valid, 100)
	require.Greater(t, readAlike, 20)
	require.Greater(t, inHalves, 100)
}

// Each half is well formed, the whole is not.
func TestHalvesThatDoNotFit(t *testing.T) {
	for _, src := range []string{
		"[[1,\n\"key\": 2}]", "[[1,\n2], 3}", "[1,\n\"key\": 2}", "{\"a\": 1,\n2, 3]", "[1,\n2]]", "[[1,\n2, 3]",
		"[1,\n2], 3", "[\"a,\n\", 1]", "[1,\n2,]", "[1,\n2] x", "{\"a\": 1,\n\"b\": 2, 3}",
	} {
		src += strings.Repeat(" ", len(src)) // the line ends in the first half
		require.GreaterOrEqual(t, endInTheMiddle([]byte(src)), 0, "%q", src)
		require.Error(t, Valid([]byte(src), JSON), "%q", src)
		require.Nil(t, indexFromBoth([]byte(src), endInTheMiddle([]byte(src))), "%q", src)
	}
	deep := strings.Repeat("[", maxDepth-1) + "1,\n" + strings.Repeat("[", 2) + strings.Repeat("]", maxDepth+1)
	require.Error(t, Valid([]byte(deep), JSON))
	require.Nil(t, indexFromBoth([]byte(deep), maxDepth))
	requireHalves(t, []byte("[[1,\n2, {\"a\": 3}], 4]         "))
}

func FuzzParsedBesideAnother(f *testing.F) {
	f.Add([]byte(`{"a": [1, 2, {"b": "x"}], "c": 1}`), []byte(`{"a": [1, 2, {"b": "x\", \"y"}], "c": 1}`), false)
	f.Add([]byte(`["p", ", ", "q"]`), []byte(`[", ", "q"]`), false)
	f.Add([]byte("1\n[2]\n3\n"), []byte("1\n[2]\n[2]\n3\n"), true)
	f.Add([]byte(`[[1, 2], [1, 2]]`), []byte(`[[1, 2]]`), false)
	f.Add([]byte(`1`), []byte("{\"a\": [1, {\"b\": 1,\n\"c\": 2}, 3], \"d\": 4}"), false)
	f.Fuzz(func(t *testing.T, base, src []byte, lines bool) {
		if lines {
			requireAlike(t, base, src, Lines)
		} else {
			requireAlike(t, base, src, JSON)
			requireHalves(t, src)
		}
	})
}
