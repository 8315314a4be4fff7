package merge

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func policyOf(at string, s Strategy) *Policy { return &Policy{Rules: []Rule{{At: at, Merge: s}}} }

// foldAll merges writers' versions, all made from base, in the order given.
func foldAll(t require.TestingT, base string, versions []string, order []int, pol *Policy) string {
	theirs := []byte(base)
	for _, i := range order {
		merged, _, err := Merge([]byte(base), []byte(versions[i]), theirs, JSON, pol)
		require.NoError(t, err)
		theirs = merged
	}
	return string(theirs)
}

func TestTwoWritersWhoCountedTheSameCountTwice(t *testing.T) {
	pol := policyOf("/models/*/n", Sum)
	for _, c := range []struct{ base, ours, theirs, want string }{
		{`{"models":{"a":{"n":5}}}`, `{"models":{"a":{"n":6}}}`, `{"models":{"a":{"n":6}}}`, `{"models":{"a":{"n":7}}}`},
		{``, `{"models":{"a":{"n":1}}}`, `{"models":{"a":{"n":1}}}`, `{"models":{"a":{"n":2}}}`},
		{`{"models":{}}`, `{"models":{"a":{"n":1}}}`, `{"models":{"a":{"n":1}}}`, `{"models":{"a":{"n":2}}}`},
		{`{"models":{"a":{"n":5}}}`, `{"models":{"a":{"n":0}}}`, `{"models":{"a":{"n":7}}}`, `{"models":{"a":{"n":2}}}`}, // reset
		{`{"models":{"a":{"n":5}}}`, `{"models":{"a":{}}}`, `{"models":{"a":{"n":7}}}`, `{"models":{"a":{"n":2}}}`},      // reset
		{`{"models":{"a":{"n":5}}}`, `{"models":{"a":{"n":7}}}`, `{"models":{"a":{}}}`, `{"models":{"a":{"n":2}}}`},
		{`{"models":{"a":{"n":1.10}}}`, `{"models":{"a":{"n":1.2}}}`, `{"models":{"a":{"n":1.35}}}`, `{"models":{"a":{"n":1.45}}}`},
		{`{"models":{"a":{"n":0.1}}}`, `{"models":{"a":{"n":0.30000000000000004}}}`, `{"models":{"a":{"n":0.2}}}`, `{"models":{"a":{"n":0.40000000000000004}}}`},
		{`{"models":{"a":{"n":9007199254740993}}}`, `{"models":{"a":{"n":9007199254740994}}}`, `{"models":{"a":{"n":9007199254740995}}}`, `{"models":{"a":{"n":9007199254740996}}}`},
	} {
		merged, outcome, err := Merge([]byte(c.base), []byte(c.ours), []byte(c.theirs), JSON, pol)
		require.NoError(t, err)
		require.Equal(t, c.want, string(merged))
		require.Empty(t, outcome.Conflicts)
	}
}

// A rule counts where it says, and only there: two writers that wrote the same list wrote one list.
func TestAnAccumulatingRuleLeavesOtherPlacesAlone(t *testing.T) {
	pol := policyOf("/n", Sum)
	merged, _, err := Merge([]byte(`{"n":1,"l":[]}`), []byte(`{"n":2,"l":["x"]}`), []byte(`{"n":2,"l":["x"]}`), JSON, pol)
	require.NoError(t, err)
	require.Equal(t, `{"n":3,"l":["x"]}`, string(merged))
}

func TestSumIsExactInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := func(label string) string {
			whole := rapid.Int64().Draw(t, label)
			if rapid.Bool().Draw(t, label+" decimal") {
				return fmt.Sprintf("%d.%03d", whole, rapid.IntRange(0, 999).Draw(t, label+" fraction"))
			}
			return fmt.Sprint(whole)
		}
		base := number("base")
		want := rat(base)
		var versions []string
		for range rapid.IntRange(1, 5).Draw(t, "writers") {
			ours := number("ours")
			versions = append(versions, `{"n": `+ours+`}`)
			want.Add(want, new(big.Rat).Sub(rat(ours), rat(base)))
		}
		order := rapid.Permutation(indexes(len(versions))).Draw(t, "order")
		got := foldAll(t, `{"n": `+base+`}`, versions, order, policyOf("/n", Sum))
		d, err := Parse([]byte(got), JSON)
		require.NoError(t, err)
		n, err := d.Get(Pointer{"n"})
		require.NoError(t, err)
		require.Zero(t, want.Cmp(rat(string(n))), "%s, want %s", n, want)
	})
}

func TestOrderOfCommitsDoesNotMatter(t *testing.T) {
	for _, s := range []Strategy{Sum, Max, Min} {
		t.Run(string(s), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				small := rapid.IntRange(-3, 9)
				base := fmt.Sprintf(`{"n":%d}`, small.Draw(t, "base"))
				if rapid.Bool().Draw(t, "missing") {
					base = `{}`
				}
				var versions []string
				for range rapid.IntRange(2, 5).Draw(t, "writers") {
					versions = append(versions, fmt.Sprintf(`{"n":%d}`, small.Draw(t, "ours")))
				}
				bothOrders(t, base, versions, policyOf("/n", s))
			})
		})
	}
	t.Run("set", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			set := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{`1`, `"a"`, `{"x":1}`, `[2]`, `null`, `true`}), 0, 5, rapid.ID[string])
			text := func(elements []string) string { return `{"s":[` + strings.Join(elements, ",") + `]}` }
			base := text(set.Draw(t, "base"))
			var versions []string
			for range rapid.IntRange(2, 4).Draw(t, "writers") {
				versions = append(versions, text(set.Draw(t, "ours")))
			}
			bothOrders(t, base, versions, policyOf("/s", Set))
		})
	})
}

// bothOrders folds in two orders and wants the same values; the elements of a set have no order.
func bothOrders(t *rapid.T, base string, versions []string, pol *Policy) {
	one := foldAll(t, base, versions, indexes(len(versions)), pol)
	other := foldAll(t, base, versions, rapid.Permutation(indexes(len(versions))).Draw(t, "order"), pol)
	require.Equal(t, membersOf(t, one), membersOf(t, other))
}

// membersOf is a document as its elements, sorted: of arrays the elements' fingerprints.
func membersOf(t require.TestingT, src string) []string {
	d, err := Parse([]byte(src), JSON)
	require.NoError(t, err)
	var out []string
	require.NoError(t, d.Each(nil, func(key string, raw []byte) bool {
		if raw[0] != '[' {
			out = append(out, key+"="+canonicalNumber(raw))
			return true
		}
		require.NoError(t, d.Each(Pointer{key}, func(_ string, element []byte) bool {
			out = append(out, fmt.Sprint(key, " has ", fingerprint(element)))
			return true
		}))
		return true
	}))
	slices.Sort(out)
	return out
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func rat(s string) *big.Rat {
	v, ok := new(big.Rat).SetString(s)
	if !ok {
		panic(s)
	}
	return v
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, at string
		want        bool
	}{
		{"", "", true}, {"", "/a", false}, {"/a", "/a", true}, {"/a", "/b", false}, {"/*", "/a", true}, {"/*", "/a/b", false}, {"/*", "", false},
		{"/**", "", true}, {"/**", "/a/b", true}, {"/**/n", "/n", true}, {"/**/n", "/a/b/n", true}, {"/**/n", "/n/a", false},
		{"/a/**/b/*/c", "/a/b/x/c", true}, {"/a/**/b/*/c", "/a/b/b/b/x/c", true}, {"/a/**/b/*/c", "/a/b/c", false},
		{"/models/*/runs/*/id", "/models/x~1y/runs/0/id", true}, {"/**/**/x", "/x", true}, {"/**/a/**/a", "/a/a", true}, {"/**/a/**/a", "/a", false},
	} {
		p, err := ParsePattern(c.pattern)
		require.NoError(t, err)
		at, err := ParsePointer(c.at)
		require.NoError(t, err)
		require.Equal(t, c.want, p.Matches(at), "%s on %s", c.pattern, c.at)
		if c.want {
			for i := range len(at) + 1 {
				require.True(t, p.reaches(at[:i]), "%s reaches %s", c.pattern, at[:i])
			}
		}
	}
	_, err := ParsePattern(strings.Repeat("/**/a", 1000))
	require.ErrorContains(t, err, "at most")
}

// Matching agrees with the obvious recursion, and so does the question whether two patterns can meet.
func TestPatternsProperty(t *testing.T) {
	var naive func(p Pattern, at Pointer) bool
	naive = func(p Pattern, at Pointer) bool {
		switch {
		case len(p) == 0:
			return len(at) == 0
		case p[0] == anySteps:
			return naive(p[1:], at) || len(at) > 0 && naive(p, at[1:])
		}
		return len(at) > 0 && (p[0] == anyStep || p[0] == at[0]) && naive(p[1:], at[1:])
	}
	step := rapid.SampledFrom([]string{"a", "b"})
	pattern := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", anyStep, anySteps}), 0, 6)
	rapid.Check(t, func(t *rapid.T) {
		p, q := Pattern(pattern.Draw(t, "p")), Pattern(pattern.Draw(t, "q"))
		at := Pointer(rapid.SliceOfN(step, 0, 7).Draw(t, "at"))
		require.Equal(t, naive(p, at), p.Matches(at))
		if p.Matches(at) && q.Matches(at) {
			require.True(t, p.meets(q))
		}
		require.Equal(t, p.meets(q), q.meets(p))
	})
}
