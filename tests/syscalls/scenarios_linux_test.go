package syscalls

import "testing"

// scenario is a state of the disk and what is done to it. The document counts what was done: each change adds 1 to /n.
type scenario struct {
	name    string
	file    string // doc.json; .jsonl: each change is a line
	prepare func(t *testing.T, r *run)
	args    []string // of jsonguard; FILE is the file
	stdin   string
	before  int  // /n before, with what is pending
	adds    int  // what the verb adds
	missing bool // there is no file before
	torn    bool // a torn write is in quarantine
	salvage bool // and recovery takes its complete part out of it
	repair  bool // what is damaged stays until it is repaired
	runner  bool // the verb starts a program; it writes the file "finished" when its write is complete

	template string
}

var scenarios = []scenario{
	{name: "change alone", args: incr, adds: 1},
	{name: "change with a guard", prepare: guarded, args: incr, adds: 1},
	{name: "file is made", missing: true, args: incr, adds: 1},
	{name: "symbolic link", prepare: linked, args: incr, before: 2, adds: 1},
	{name: "fold of many", prepare: pending(5, 3), args: incr, before: 15, adds: 1},
	{name: "recovery", prepare: pending(3, 2), args: recovery, before: 6},
	{name: "update", prepare: pending(1, 1), args: []string{"update", "FILE", ".n += 1"}, before: 1, adds: 1},
	{name: "patch", prepare: guarded, args: []string{"patch", "FILE", `{"n": 1}`}, adds: 1},
	{name: "JSON Patch", prepare: pending(1, 1), args: []string{"patch", "--rfc6902", "FILE", `[{"op": "test", "path": "/n", "value": 1}, {"op": "replace", "path": "/n", "value": 2}]`}, before: 1, adds: 1},
	{name: "refused change", prepare: refused, args: incr, before: 1, adds: 1},
	{name: "policy: sum, derive", prepare: policy(`{"rules": [{"at": "/n", "merge": "sum"}, {"at": "/half", "derive": ".n / 2"}]}`, pending(2, 2)), args: incr, before: 4, adds: 1},
	{name: "normalize", prepare: policy(`{"rules": [{"at": "", "rename": [{"match": "^m$", "to": "n"}]}, {"at": "/n", "merge": "sum"}]}`, misspelled), args: []string{"normalize", "FILE"}, adds: 1},
	{name: "batch, journaled", prepare: guarded, args: []string{"batch", "FILE"}, stdin: `{"op":"incr","at":"/n","ack":"journaled"}` + "\n", adds: 1},
	{name: "batch, visible", prepare: pending(1, 1), args: []string{"batch", "FILE"}, stdin: `{"op":"incr","at":"/n"}` + "\n", before: 1, adds: 1},
	{name: "conflict put back", prepare: conflict, args: []string{"conflicts", "FILE", "--take", "1"}, adds: 1},
	{name: "clean", prepare: pending(2, 1), args: []string{"clean", "FILE"}, before: 2},
	{name: "repair", prepare: damaged, args: []string{"verify", "--repair", "FILE"}, before: 2, repair: true},
	{name: "edit", prepare: pending(1, 1), args: []string{"edit", "FILE"}, before: 1, runner: true},
	{name: "lock", prepare: pending(1, 1), args: []string{"lock", "FILE", "--", "true"}, before: 1, runner: true},
	{name: "history", prepare: policy(`{"history": {"keep": 2}}`, versions, pending(2, 1)), args: incr, before: 5, adds: 1},
	{name: "history, lines", file: "log.jsonl", prepare: policy(`{"history": {}}`, pending(2, 1)), args: line, before: 2, adds: 1},
	{name: "history, lines rewritten", file: "log.jsonl", prepare: policy(`{"history": {}}`, pending(2, 1)), args: []string{"update", "FILE", ". + [1]"}, before: 2, adds: 1},
	{name: "restore", prepare: policy(`{"history": {}}`, versions), args: []string{"restore", "FILE", "--to", "2"}, before: 3, adds: -2},
	{name: "lines", file: "log.jsonl", prepare: pending(2, 2), args: line, before: 4, adds: 1},
	{name: "lines, alone", file: "log.jsonl", args: line, adds: 1},
	{name: "lines rewritten", file: "log.jsonl", prepare: pending(2, 1), args: []string{"update", "FILE", ". + [1]"}, before: 2, adds: 1},

	{name: "exec, copy", args: under("copy", `cp next.json "$0" && : > finished`), adds: 1, runner: true},
	{name: "exec, copy, others", prepare: policy(summed, pending(2, 1)), args: under("copy", oneMore+` "$0" > t.tmp && cp t.tmp "$0" && : > finished`), before: 2, adds: 1, runner: true},
	{name: "exec, copy, quarantine", args: under("copy", `printf '{"keep": 1.10, "cut": ' > "$0"`), torn: true, runner: true},
	{name: "exec, intercepted", args: under("intercept", "cp next.json FILE && : > finished"), adds: 1, runner: true},
	{name: "exec, intercepted, rename", prepare: policy(summed, pending(2, 1)), args: under("intercept", oneMore+" FILE > t.tmp && mv t.tmp FILE && : > finished"), before: 2, adds: 1, runner: true},
	{name: "exec, intercepted, lines", file: "log.jsonl", prepare: pending(1, 1), args: under("intercept", "echo 1 >> FILE && : > finished"), before: 1, adds: 1, runner: true},
	{name: "exec, intercepted, quarantine", args: under("intercept", `printf '{"keep": 1.10, "cut": ' > FILE`), torn: true, runner: true},
	{name: "dead runner", prepare: deadRunner, args: recovery, before: 1},
	{name: "torn write", prepare: tornRunner, args: recovery, torn: true},
	{name: "salvage", prepare: tornAddition, args: []string{"recover", "--salvage", "FILE"}, before: 1, torn: true, salvage: true},
}

var (
	incr     = []string{"incr", "FILE", "/n"}
	recovery = []string{"recover", "FILE"}
	line     = []string{"append", "FILE", "", "1"}
)

const (
	summed  = `{"rules": [{"at": "/n", "merge": "sum"}]}`
	oneMore = `awk '/"n"/ {sub(/[0-9]+/, $2+1)} 1'` // whatever /n was when it was read
)

// under is a shell script under exec; $0 is the file, or its copy.
func under(mode, script string) []string {
	return []string{"exec", "--mode", mode, "--file", "FILE", "--", "sh", "-c", script, "{}"}
}
