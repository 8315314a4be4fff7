package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	_ "github.com/mattn/go-sqlite3"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// peer is a way to keep records that several processes add to. One operation sets a record of 200 bytes.
type peer struct {
	name    string
	missing func(b *bench) string // why it cannot run here; "" it can
	prepare func(b *bench, dir string, megabytes int) error
	worker  func(b *bench, dir string, n int) *exec.Cmd
	ours    bool
}

const recordSize = 200

// record is the value of operation i, a new one each time.
func record(i int) []byte {
	out := fmt.Appendf(nil, `{"ok":true,"i":%d,"note":"`, i)
	return fmt.Appendf(out, `%s"}`, strings.Repeat("x", max(0, recordSize-len(out)-2)))
}

func always(*bench) string { return "" }

func needs(programs ...string) func(*bench) string {
	return func(*bench) string {
		for _, p := range programs {
			if _, err := exec.LookPath(p); err != nil {
				return p + " is not installed"
			}
		}
		return ""
	}
}

func needsPython(module string) func(*bench) string {
	return func(*bench) string {
		if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
			return "Python has no module " + module
		}
		return ""
	}
}

// python is the system's, whose packages have the peers' libraries.
const python = "/usr/bin/python3"

var (
	journaled = peer{"jsonguard, journaled", always, prepareJSON, goWorker("journaled"), true}
	visibly   = peer{"jsonguard, visible", always, prepareJSON, goWorker("visible"), true}
	sqlite    = peer{"SQLite WAL FULL", always, prepareSQLite, goWorker("sqlite"), false}
	rawAppend = peer{"floor: append + fsync, own files", always, func(*bench, string, int) error { return nil }, goWorker("append"), false}
	rewriters = []peer{
		{"flock + Python", needs("flock", python), prepareJSON, script("flock.py"), false},
		{"Python filelock", needsPython("filelock"), prepareJSON, script("python_filelock.py"), false},
		{"TinyDB (no lock)", needsPython("tinydb"), prepareTinyDB, script("tiny.py"), false},
		{"flock + jq + mv", needs("flock", "jq"), prepareJSON, script("jq.sh"), false},
		{"Node proper-lockfile", func(b *bench) string {
			if b.node == "" {
				return "npm could not install proper-lockfile and write-file-atomic"
			}
			return ""
		}, prepareJSON, script("node.js"), false},
	}
)

func goWorker(role string) func(*bench, string, int) *exec.Cmd {
	return func(b *bench, dir string, n int) *exec.Cmd {
		cmd := exec.Command(b.self, dir, strconv.Itoa(n))
		cmd.Env = append(os.Environ(), "BENCH_ROLE="+role, "GOMAXPROCS=2")
		return cmd
	}
}

func script(file string) func(*bench, string, int) *exec.Cmd {
	return func(b *bench, dir string, n int) *exec.Cmd {
		path := filepath.Join(b.work, "peers", file)
		interpreter := map[string]string{".py": python, ".sh": "sh", ".js": "node"}[filepath.Ext(file)]
		cmd := exec.Command(interpreter, path, filepath.Join(dir, "data.json"), strconv.Itoa(n), string(record(0)))
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(b.node, "node_modules"))
		return cmd
	}
}

// document is about this many MB of records as Python's json.dump(indent=2) writes them.
func document(megabytes int) []byte {
	size := megabytes << 20
	out := append(make([]byte, 0, size+1024), "{\n  \"records\": {"...)
	for i := 0; len(out) < size; i++ {
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, "\n    \"r%07d\": {\n      \"ok\": %v,\n      \"score\": %d.%02d,\n      \"note\": \"%s\"\n    }", i, i%3 == 0, i%7, i%100, strings.Repeat("lorem ipsum ", 1+i%13))
	}
	return append(out, "\n  },\n  \"added\": {}\n}\n"...)
}

func prepareJSON(_ *bench, dir string, megabytes int) error {
	return os.WriteFile(filepath.Join(dir, "data.json"), document(megabytes), 0o644)
}

func prepareTinyDB(_ *bench, dir string, megabytes int) error {
	var out strings.Builder
	out.WriteString(`{"_default": {`)
	for i := 1; out.Len() < megabytes<<20; i++ {
		if i > 1 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, `"%d": %s`, i, record(i))
	}
	out.WriteString("}}")
	return os.WriteFile(filepath.Join(dir, "data.json"), []byte(out.String()), 0o644)
}

func openSQLite(dir string) (*sql.DB, error) {
	return sql.Open("sqlite3", filepath.Join(dir, "data.db")+"?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=60000&_txlock=immediate")
}

func prepareSQLite(_ *bench, dir string, megabytes int) error {
	db, err := openSQLite(dir)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE records (id TEXT PRIMARY KEY, body TEXT)"); err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	for i := range megabytes << 20 / recordSize {
		if _, err := tx.Exec("INSERT INTO records VALUES (?, ?)", fmt.Sprintf("r%07d", i), record(i)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// work is the process of a worker written in Go.
func work(role string, args []string) int {
	if run, ok := single[role]; ok {
		return run(args)
	}
	dir := args[0]
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return 64
	}
	ctx := context.Background()
	switch role {
	case "visible", "journaled":
		g, err := sidecar.Open(filepath.Join(dir, "data.json"), sidecar.Options{})
		if err != nil {
			return report(err)
		}
		defer g.Close()
		return loop(func(i int) error {
			op := merge.Op{Kind: merge.OpSet, At: "/added/" + name(n, i), Value: record(i)}
			if role == "journaled" {
				return g.Journal(ctx, op)
			}
			_, err := g.Apply(ctx, op)
			return err
		})
	case "sqlite":
		db, err := openSQLite(dir)
		if err != nil {
			return report(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		insert, err := db.Prepare("INSERT INTO records VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body")
		if err != nil {
			return report(err)
		}
		return loop(func(i int) error {
			_, err := insert.Exec(name(n, i), record(i))
			return err
		})
	case "append":
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(n)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return report(err)
		}
		line := append(record(0), '\n')
		return loop(func(int) error {
			_, err := f.Write(line)
			return errors.Join(err, f.Sync())
		})
	}
	return report(fmt.Errorf("no role %q", role))
}

func report(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
