package sidecar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

const strangerID = "other.4711.00000000000000ff"

// stranger is a sidecar as another process writes it: change i adds 1 to /c<i>.
func stranger(t *testing.T, h header, changes int) []byte {
	t.Helper()
	if h.ID == "" {
		h.ID = strangerID
	}
	h.Version = max(h.Version, journalVersion)
	raw, err := h.marshal()
	require.NoError(t, err)
	for i := range changes {
		l := line{Seq: uint64(i + 1), Monotonic: int64(i), Ops: encodeOps([]merge.Op{incr(fmt.Sprintf("/c%d", i))})}
		object, err := json.Marshal(l)
		require.NoError(t, err)
		raw = append(raw, sealed(object)...)
	}
	return raw
}

// plant puts a file into pending/ as if its process had died.
func (m *machine) plant(name string, raw []byte) {
	dir, err := m.mem.OpenDir(guardOfFile + "/" + pendingName)
	require.NoError(m, err)
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.NoError(m, err)
	_, err = f.Write(raw)
	require.NoError(m, err)
	require.NoError(m, f.Close())
}

// used is a machine whose guard directory exists and is empty.
func used(t *testing.T, content string) *machine {
	m := newMachine(t, content)
	g := m.process(Options{})
	_, err := g.openedStore(true)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	return m
}

func (m *machine) clone() *machine { return &machine{T: m.T, mem: m.mem.Clone()} }

// counts are the counters of the target.
func (m *machine) counts() map[string]int {
	counts := map[string]int{}
	require.NoError(m, json.Unmarshal([]byte(m.content()), &counts))
	return counts
}

// Every bit of a journal is flipped: what is folded is what stands before it, once, and never anything else.
func TestEveryBitFlipOfAJournal(t *testing.T) {
	const changes = 8
	raw := stranger(t, header{Host: "other", PID: 4711, Command: "a program", Since: time.Unix(1, 0)}, changes)
	require.Greater(t, len(raw), 900)
	fresh := used(t, "{}")
	flips := 0
	for at := range raw {
		whole := bytes.Count(raw[:at], []byte("\n")) - 1 // changes in front of the flip, less the header
		for bit := range 8 {
			flipped := bytes.Clone(raw)
			flipped[at] ^= 1 << bit
			m := fresh.clone()
			m.plant(strangerID, flipped)
			m.recovered()
			check := func(when string) {
				got := m.counts()
				for i := range changes {
					n := got[fmt.Sprintf("c%d", i)]
					require.LessOrEqual(t, n, 1)
					if i < whole {
						require.Equal(t, 1, n, "change %d, bit %d of byte %d (%q) flipped, %s", i, bit, at, raw[at], when)
					}
				}
				// A letter of a checksum in the other case is the same number: then all of it is good.
				if len(got) != max(0, whole) {
					require.Len(t, got, changes, "bit %d of byte %d (%q) flipped, %s: %v", bit, at, raw[at], when, got)
				}
			}
			check("after recovery")
			if bit == 0 {
				m.recovered()
				check("after another one")
			}
			flips++
		}
	}
	t.Logf("%d flips", flips)
}

// A journal ends anywhere: whole lines count, the rest was never acknowledged.
func TestJournalCutAnywhere(t *testing.T) {
	raw := stranger(t, header{}, 4)
	for end := range len(raw) + 1 {
		whole := max(0, bytes.Count(raw[:end], []byte("\n"))-1)
		r, err := parseJournal(raw[:end], 0)
		if !bytes.Contains(raw[:end], []byte("\n")) {
			require.ErrorIs(t, err, ErrDamaged)
			continue
		}
		require.NoError(t, err)
		require.Len(t, r.lines, whole, "cut at %d", end)
		require.Empty(t, r.damage)
	}
}

func TestJournalAboveItsWatermark(t *testing.T) {
	raw := stranger(t, header{}, 5)
	for watermark := range uint64(7) {
		r, err := parseJournal(raw, watermark)
		require.NoError(t, err)
		require.Len(t, r.lines, max(0, 5-int(watermark)))
	}
	lines := bytes.SplitAfter(raw, []byte("\n"))
	gap := bytes.Join([][]byte{lines[0], lines[1], lines[3], lines[4]}, nil)
	r, err := parseJournal(gap, 0)
	require.NoError(t, err)
	require.Len(t, r.lines, 1)
	require.Contains(t, r.damage, "seq 3 follows 1")
	cut := bytes.Join([][]byte{lines[0], lines[3]}, nil) // truncated under a settled watermark, then appended to
	r, err = parseJournal(cut, 2)
	require.NoError(t, err)
	require.Len(t, r.lines, 1)
	r, err = parseJournal(cut, 1)
	require.NoError(t, err)
	require.Empty(t, r.lines, "what stands between the watermark and the first line is lost: nothing may be skipped")
	require.NotEmpty(t, r.damage)
}

// What another version wrote: fields nobody knows are none of ours; a newer format is left alone, with everything in it.
func TestJournalsOfOtherVersions(t *testing.T) {
	m := used(t, "{}")
	m.plant("newer.1.00000000000000aa", stranger(t, header{Version: journalVersion + 1, ID: "newer.1.00000000000000aa"}, 2))
	future := sealed([]byte(`{"jsonguard":1,"id":"same.1.00000000000000bb","colour":"blue"}`))
	l := sealed([]byte(`{"seq":1,"generation":0,"monotonic":5,"smell":"sweet","ops":["{\"op\":\"incr\",\"at\":\"/c9\",\"value\":\"1\"}"]}`))
	m.plant("same.1.00000000000000bb", append(future, l...))
	var warned []string
	g := m.process(Options{Warn: func(s string) { warned = append(warned, s) }})
	_, _, err := g.Recover(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"c9": 1}, m.counts())
	require.Contains(t, strings.Join(warned, "\n"), "newer jsonguard")
	_, err = g.Clean(t.Context())
	require.NoError(t, err)
	require.Contains(t, m.mem.Tree(), guardOfFile+"/pending/newer.1.00000000000000aa")
	require.NotContains(t, m.mem.Tree(), guardOfFile+"/pending/same.1.00000000000000bb")
}

// Neither pid nor clock says whether a process lives, or whether its change counts.
func TestPidsAndClocksSayNothing(t *testing.T) {
	for _, since := range []time.Time{{}, time.Unix(0, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for _, mono := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
			m := used(t, "{}")
			h := header{ID: strangerID, Version: 1, Since: since, PID: os.Getpid()} // recycled: that process lives
			raw, err := h.marshal()
			require.NoError(t, err)
			for seq := range uint64(2) {
				object, err := json.Marshal(line{Seq: seq + 1, Monotonic: mono, Generation: 1 << 60, Ops: encodeOps([]merge.Op{incr("/n")})})
				require.NoError(t, err)
				raw = append(raw, sealed(object)...)
				mono = -mono // it jumps
			}
			m.plant(strangerID, raw)
			g := m.process(Options{})
			require.NoError(t, g.Journal(t.Context(), incr("/n")))
			_, err = g.Flush(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[string]int{"n": 3}, m.counts())
			require.NotContains(t, m.mem.Tree(), guardOfFile+"/pending/"+strangerID)
			require.NoError(t, g.Close())
		}
	}
}

// A change that is refused for what it says is quarantined; what cannot be understood at all likewise.
func TestLinesThatMakeNoSense(t *testing.T) {
	for _, object := range []string{
		`{"seq":1,"ops":["{"]}`,
		`{"seq":1,"ops":["{\"op\":\"explode\",\"at\":\"\"}"]}`,
		`{"seq":1,"ops":["{\"op\":\"set\",\"at\":\"no slash\",\"value\":\"1\"}"]}`,
		`{"seq":1,"ours":"../../../../etc/passwd"}`,
		`{"seq":1,"ours":"1.ours","base":"../../data/n.json"}`,
		`{"seq":1,"ours":"missing.ours"}`,
	} {
		m := used(t, `{"n":1}`)
		head, err := header{Version: 1, ID: strangerID}.marshal()
		require.NoError(t, err)
		m.plant(strangerID, append(head, sealed([]byte(object))...))
		require.Equal(t, `{"n":1}`, m.recovered(), object)
		require.Contains(t, m.mem.Tree(), guardOfFile+"/quarantine/"+strangerID+".1.json", object)
	}
}

// A journal is cut back to its header when all of it is in the target, and its numbers go on.
func TestOwnJournalIsCutBack(t *testing.T) {
	m := newMachine(t, "{}")
	g := m.process(Options{})
	big := merge.Op{Kind: merge.OpSet, At: "/big", Value: []byte(`"` + strings.Repeat("x", journalLimit) + `"`)}
	for range 3 {
		require.NoError(t, g.Journal(t.Context(), big))
		require.NoError(t, g.Journal(t.Context(), incr("/n")))
		_, err := g.Flush(t.Context())
		require.NoError(t, err)
		require.Equal(t, g.journal.headerSize, g.journal.size)
	}
	require.EqualValues(t, 6, g.journal.seq)
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	m.recovered()
	require.Contains(t, m.content(), `"n": 4`)
}

func TestSealedLines(t *testing.T) {
	object := []byte(`{"a":1}`)
	s := sealed(bytes.Clone(object))
	got, ok := unsealed(bytes.TrimSuffix(s, []byte("\n")))
	require.True(t, ok)
	require.Equal(t, string(object), string(got))
	for i := range len(s) - 1 {
		_, ok := unsealed(s[:i])
		require.False(t, ok, "%q", s[:i])
	}
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte("{}\n"), uint64(0))
	head, _ := header{Version: 1, ID: "x"}.marshal()
	f.Add(append(head, sealed([]byte(`{"seq":1,"ops":["{}"]}`))...), uint64(0))
	f.Add([]byte(`{"jsonguard":1,"id":"x"}`+"\n"+`{"seq":1,"generation":0,"monotonic":1,"ops":["{}"]}`+"\n"+`{"seq":2,"generation":0,"monotonic":2,"ours":"1.ours","base":"base"}`+"\n"), uint64(1))
	f.Fuzz(func(t *testing.T, raw []byte, watermark uint64) {
		checkJournal(t, raw, watermark)
		whole := sealedLines(raw)
		lines := checkJournal(t, whole, watermark)
		// A torn last line takes nothing away from those before it.
		for _, cut := range []int{1, 2, len(whole) / 3} {
			before := checkJournal(t, whole[:max(0, len(whole)-cut)], watermark)
			require.LessOrEqual(t, len(before), len(lines))
			for i := range before {
				require.Equal(t, lines[i], before[i])
			}
		}
	})
}

// sealedLines gives each line that can have one the checksum that belongs to it: no fuzzer finds those.
func sealedLines(raw []byte) (whole []byte) {
	for text := range bytes.Lines(raw) {
		if object, ended := bytes.CutSuffix(text, []byte("\n")); ended && bytes.HasSuffix(object, []byte("}")) {
			text = sealed(bytes.Clone(object))
		}
		whole = append(whole, text...)
	}
	return whole
}

// checkJournal reads a journal, however wrong it is.
func checkJournal(t *testing.T, raw []byte, watermark uint64) []entry {
	r, err := parseJournal(raw, watermark)
	if err != nil {
		return nil
	}
	require.LessOrEqual(t, r.end, int64(len(raw)))
	for i, l := range r.lines {
		require.Greater(t, l.Seq, watermark)
		if i > 0 {
			require.Equal(t, r.lines[i-1].Seq+1, l.Seq)
		}
		full, ok := parseLine(raw[l.at : l.at+int64(l.size)])
		if require.Equal(t, ok, ok && full.Seq == l.Seq); len(r.placeOf(&r.lines[i])) > 0 && ok {
			require.Len(t, full.Ops, 1)
		}
	}
	return r.lines
}

// The buffer of a line is read into again before a fold puts what it refused into quarantine.
func TestWhatIsNoOperationOutlivesItsLine(t *testing.T) {
	text := bytes.TrimSuffix(sealed([]byte(`{"seq":1,"generation":0,"monotonic":5,"ops":["nonsense"]}`)), []byte("\n"))
	l, ok := parseLine(text)
	require.True(t, ok)
	l.decode()
	require.Error(t, l.undecoded)
	clear(text)
	require.Equal(t, "nonsense", string(l.Ops[0]))
}
