package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// world is a file under guard, in memory: what exec does, without a kernel.
type world struct {
	t        *testing.T
	heads    *Heads[string, int]
	versions []string // by number; "" is a missing file
	current  int
}

func newWorld(t *testing.T, content string) *world {
	w := &world{t: t, heads: NewHeads[string, int](), versions: []string{""}}
	w.current = w.version(content)
	return w
}

func (w *world) version(content string) int {
	if content == "" {
		return 0
	}
	w.versions = append(w.versions, content)
	return len(w.versions) - 1
}

func (w *world) write(process string, thread int, content string) {
	candidates, likely := w.heads.Bases(process, thread)
	var bases [][]byte
	for _, v := range candidates {
		bases = append(bases, []byte(w.versions[v]))
	}
	base := candidates[merge.MadeFrom([]byte(content), bases, likely, merge.JSON, nil)]
	w.heads.Wrote(process, thread, base, w.version(content))
	change, err := merge.Diff([]byte(w.versions[base]), []byte(content), merge.JSON, nil)
	require.NoError(w.t, err)
	doc, err := merge.Parse([]byte(w.versions[w.current]), merge.JSON)
	require.NoError(w.t, err)
	_, err = doc.Merge(change, nil)
	require.NoError(w.t, err)
	w.current = w.version(string(doc.Bytes()))
}

// run carries out a trace, one event a line:
//
//	start P [of PARENT]     read P[.THREAD] [= CONTENT]     write P[.THREAD] CONTENT     exit P     file = CONTENT
//	orphan P PREFIX: its parent was one of those whose names begin so
//
// "read P = CONTENT" checks what it reads.
func (w *world) run(trace string) {
	for event := range strings.Lines(trace) {
		fields := strings.Fields(event)
		if len(fields) == 0 {
			continue
		}
		who, thread := fields[1], 0
		if name, number, ok := strings.Cut(who, "."); ok {
			who = name
			_, err := fmt.Sscan(number, &thread)
			require.NoError(w.t, err)
		}
		rest := strings.Join(fields[2:], "")
		switch fields[0] {
		case "start":
			w.heads.Start(who, strings.TrimPrefix(rest, "of"), 0, w.current)
		case "read":
			w.heads.Read(who, thread, w.current)
			if want, ok := strings.CutPrefix(rest, "="); ok {
				require.JSONEq(w.t, want, w.versions[w.current], event)
			}
		case "write":
			w.write(who, thread, rest)
		case "orphan":
			w.heads.StartOrphan(who, "", 0, w.current, func(parent string) bool { return strings.HasPrefix(parent, rest) })
		case "exit":
			w.heads.Exit(who, 0)
		case "file":
			require.JSONEq(w.t, strings.TrimPrefix(rest, "="), w.versions[w.current], event)
		default:
			require.FailNow(w.t, "unknown event", event)
		}
	}
}

func TestBaseInference(t *testing.T) {
	for _, c := range []struct{ name, before, trace string }{
		{"two loops", `{}`, `
			start p
			start q
			read p = {}
			read q = {}
			write p {"p1":1}
			write q {"q1":1}
			read p = {"p1":1,"q1":1}
			write p {"p1":1,"q1":1,"p2":1}
			file = {"p1":1,"q1":1,"p2":1}`},
		{"a queue consumer", `[]`, `
			start producer
			start consumer
			read producer
			write producer ["j1"]
			read consumer = ["j1"]
			write consumer []
			read producer = []
			write producer ["j2"]
			read consumer = ["j2"]
			write consumer []
			read consumer = []
			file = []`},
		{"a list that goes [] [1] []", `{}`, `
			start p
			read p
			write p {"l":[]}
			read p
			write p {"l":[1]}
			read p
			write p {"l":[]}
			file = {"l":[]}`},
		{"two append to a list from memory", `[]`, `
			start p
			start q
			read p
			read q
			write p ["p1"]
			write q ["q1"]
			write p ["p1","p2"]
			write q ["q1","q2"]
			write p ["p1","p2","p3"]
			file = ["p1","q1","p2","q2","p3"]`},
		{"a child whose parent has ended before it was noticed", `{}`, `
			start p
			start q
			read p
			exit p
			read q
			write q {"q":1}
			start c of p
			write c {"c":1}
			file = {"c":1,"q":1}`},
		{"an orphan of one of several", `["a"]`, `
			start p
			read p
			start q
			read q
			write q ["a","q"]
			start r
			read r
			exit r
			exit p
			exit q
			start s
			read s
			write s ["a","q","s"]
			orphan c p
			orphan d r
			orphan e
			write c ["a","c"]
			write d ["a","q","d"]
			write e ["a","e"]
			file = ["a","q","s","c","d","e"]`},
		{"an orphan that nobody can have told of anything", `{"a":1}`, `
			start p
			read p
			exit p
			start q
			write q {"a":1,"q":1}
			orphan c x
			write c {"a":1,"q":1,"c":1}
			file = {"a":1,"q":1,"c":1}`},
		{"an orphan of a parent that knew nothing, and another one that did", `["a"]`, `
			start p
			read p
			exit p
			start q
			read q
			write q ["a","q"]
			orphan c p
			write c ["a","q","c"]
			file = ["a","q","c"]`},
		{"if not exists: write {}", ``, `
			start p
			start q
			write p {}
			read p = {}
			write p {"p":1}
			write q {}
			file = {"p":1}`},
		{"backup before each save", `{}`, `
			start p
			start q
			read p
			read q
			write q {"q1":1}
			read p
			write p {"p1":1}
			read q
			write q {"q1":1,"q2":1}
			read p
			write p {"p1":1,"p2":1}
			read q
			write q {"q1":1,"q2":1,"q3":1}
			file = {"q1":1,"p1":1,"p2":1,"q2":1,"q3":1}`},
		{"four threads", `{}`, `
			start p
			read p.1
			read p.2
			read p.3
			read p.4
			write p.1 {"t1":1}
			write p.2 {"t2":1}
			write p.3 {"t3":1}
			write p.4 {"t4":1}
			file = {"t1":1,"t2":1,"t3":1,"t4":1}`},
		{"one thread reads, others write", `{}`, `
			start p
			start q
			read p.1
			read q
			write q {"q":1}
			write p.2 {"a":1}
			write p.3 {"a":1,"b":1}
			file = {"q":1,"a":1,"b":1}`},
		{"multiprocessing: read, then fork", `{"n":0}`, `
			start p
			read p
			start c1 of p
			start c2 of p
			write c1 {"n":0,"c1":1}
			write c2 {"n":0,"c2":1}
			exit c1
			exit c2
			read p = {"n":0,"c1":1,"c2":1}
			write p {"n":1,"c1":1,"c2":1}
			file = {"n":1,"c1":1,"c2":1}`},
		{"the parent writes after the fork, the child from what it was forked with", `{}`, `
			start p
			read p
			start c of p
			write p {"p":1}
			write c {"c":1}
			file = {"p":1,"c":1}`},
		{"jq . f > tmp; mv tmp f", `{"a":1}`, `
			start sh
			start jq of sh
			start q
			read jq
			exit jq
			read q
			write q {"a":1,"q":1}
			start mv of sh
			write mv {"a":2}
			exit mv
			file = {"a":2,"q":1}`},
		{"a shell that writes twice means the second", `{"x":1}`, `
			start sh
			start echo of sh
			write echo {"a":1}
			exit echo
			start echo2 of sh
			write echo2 {"b":1}
			file = {"b":1}`},
		{"written without having been read", `{"old":1}`, `
			start p
			start q
			read q
			write q {"old":1,"q":1}
			write p {"new":1}
			file = {"q":1,"new":1}`},
		{"the child read meanwhile, the parent writes from memory", `{"a":1}`, `
			start p
			start q
			read p
			read q
			write q {"a":1,"q":1}
			start c of p
			read c
			exit c
			write p {"a":1,"p":1}
			file = {"a":1,"q":1,"p":1}`},
		{"two children wrote meanwhile, the parent writes from memory", `{"a":1}`, `
			start p
			read p
			start c1 of p
			read c1
			write c1 {"a":1,"c1":1}
			exit c1
			start c2 of p
			read c2
			write c2 {"a":1,"c1":1,"c2":1}
			exit c2
			write p {"a":2}
			file = {"a":2,"c1":1,"c2":1}`},
		{"goroutines: one thread reads, another writes", `{"l":[]}`, `
			start p
			start q
			read p.1
			read p.2
			write p.1 {"l":["p1"]}
			read q
			write q {"l":["p1","q1"]}
			read p.1
			write p.2 {"l":["p1","q1","p2"]}
			read p.2
			write p.1 {"l":["p1","q1","p2","p3"]}
			file = {"l":["p1","q1","p2","p3"]}`},
		{"a consumer in threads", `["j1"]`, `
			start p
			read p.1
			write p.1 []
			start q
			read q
			write q ["j2"]
			read p.2 = ["j2"]
			write p.2 []
			file = []`},
	} {
		t.Run(c.name, func(t *testing.T) { newWorld(t, c.before).run(c.trace) })
	}
}

// A thread that saves what it read as it was deletes nothing of what another thread was given later.
func TestThreadsOfTheirOwn(t *testing.T) {
	newWorld(t, `{"a":1}`).run(`
		start p
		start q
		read p.1
		read q
		write q {"a":1,"q":1}
		read p.2
		write p.1 {"a":1}
		file = {"a":1,"q":1}`)
}

// What a thread has written from, and what it knew before that, are no bases any more; what others of its process read is.
func TestAWriteTakesItsBase(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 1)
	h.Read("p", 0, 2)
	h.Read("p", 0, 3)
	h.Read("p", 7, 4)
	h.Wrote("p", 0, 3, 5)
	bases, likely := h.Bases("p", 0)
	require.Equal(t, []int{5, 4}, bases)
	require.Zero(t, likely)
	h.Wrote("p", 0, 5, 6)
	bases, _ = h.Bases("p", 0)
	require.Equal(t, []int{6, 4}, bases)
}

// What a thread was given and did not look at, it does not know.
func TestWhatWasNotRead(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 1)
	h.Read("p", 0, 2)
	h.Read("p", 7, 3)
	h.Read("p", 0, 3)
	h.Unread("p", 0, 3)
	bases, likely := h.Bases("p", 0)
	require.Equal(t, []int{3, 2}, bases)
	require.Equal(t, 1, likely)
	h.Unread("p", 7, 3)
	require.Equal(t, []int{2}, h.Holds("p"))
}

// What a program undoes of its own, it undoes: an older version is a base only where others have written since.
func TestOlderBasesTakeOthers(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 1)
	h.Read("p", 7, 1)
	h.Wrote("p", 0, 1, 2)
	h.Read("p", 7, 2)
	h.Read("p", 8, 2)
	h.Wrote("p", 0, 2, 3)
	bases, likely := h.Bases("p", 0)
	require.Equal(t, []int{3}, bases)
	require.Zero(t, likely)
	h.Read("p", 8, 9) // another's
	bases, likely = h.Bases("p", 0)
	require.Equal(t, []int{9, 3, 2}, bases)
	require.Zero(t, likely)
}

// Who has written in one thread what it read in another does so again.
func TestThreadsThatTellNothing(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 1)
	h.Read("p", 7, 1)
	h.Wrote("p", 8, 1, 2)
	h.Read("p", 7, 2)
	h.Wrote("p", 7, 2, 3)
	bases, likely := h.Bases("p", 8) // which wrote 2 once
	require.Equal(t, 3, bases[likely])
}

// What one child has written from, the next one does not write from again.
func TestChildrenThatWriteInTurn(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("sh", "", 0, 1)
	for v := 5; v < 8; v++ { // the first one is another's
		h.Start("jq", "sh", 10, 1)
		h.Read("jq", 10, v)
		h.Exit("jq", 0)
		h.Start("mv", "sh", 11, v)
		bases, likely := h.Bases("mv", 11)
		require.Equal(t, []int{v}, bases)
		require.Zero(t, likely)
		h.Wrote("mv", 11, v, v+1)
		h.Exit("mv", 0)
	}
}

// A parent that has a version in memory may write from that, whatever its children have written; its next child does not, once it has looked.
func TestParentsThatLookedAgain(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 1)
	h.Read("p", 0, 1)
	h.Start("c", "p", 10, 1)
	h.Wrote("c", 10, 1, 2)
	h.Exit("c", 0)
	bases, _ := h.Bases("p", 0)
	require.Equal(t, []int{2, 1}, bases)
	h.Read("p", 0, 2)
	bases, _ = h.Bases("p", 0)
	require.Equal(t, []int{2, 1}, bases)
	h.Start("d", "p", 11, 2)
	bases, _ = h.Bases("d", 11)
	require.Equal(t, []int{2}, bases)
}

// A file that was removed and is made anew was made from nothing that was known of it.
func TestMadeAnew(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 1)
	h.Read("p", 0, 1)
	h.Wrote("p", 0, -1, 2)
	h.Read("p", 0, 9)
	bases, _ := h.Bases("p", 0)
	require.Equal(t, []int{9, 2}, bases)
}

func TestMemory(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 1)
	require.Equal(t, 1, h.Memory("p"))
	h.Read("p", 0, 2)
	h.Read("p", 0, 3)
	require.Equal(t, 2, h.Memory("p"))
	h.Wrote("p", 0, 2, 4)
	h.Read("p", 0, 5)
	require.Equal(t, 4, h.Memory("p"))
}

// A program that polls keeps what it began with, and what it saw last.
func TestHeadsAreBounded(t *testing.T) {
	h := NewHeads[string, int]()
	h.Start("p", "", 0, 0)
	for v := 1; v <= 100; v++ {
		h.Read("p", 0, v)
	}
	bases, likely := h.Bases("p", 0)
	require.Equal(t, []int{100, 99, 98, 97, 4, 3, 2, 1}, bases)
	require.Zero(t, likely)
	n := 0
	h.Versions(func(int) { n++ })
	require.Equal(t, 9, n)
}
