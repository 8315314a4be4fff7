//go:build linux

package interception

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const clients, inserts = 4, 6

// peers links the programs of tests/peers/package.json into the lab.
func (l *lab) peers(t *testing.T, programs ...string) {
	needs(t, "node")
	where := os.Getenv("JSONGUARD_PEERS")
	if where == "" {
		t.Skip("SKIPPED: JSONGUARD_PEERS names no directory in which tests/peers/package.json is installed")
	}
	for _, p := range programs {
		if _, err := os.Stat(filepath.Join(where, "node_modules", p)); err != nil {
			t.Skipf("SKIPPED: %s is not installed in JSONGUARD_PEERS", p)
		}
	}
	require.NoError(l, os.Symlink(filepath.Join(where, "node_modules"), l.path("node_modules")))
}

// TinyDB opens its file once, r+, and holds it for the whole run; each process has a table of its own.
func TestTinyDB(t *testing.T) {
	needs(t, "python3")
	if exec.Command("python3", "-c", "import tinydb").Run() != nil {
		t.Skip("SKIPPED: no TinyDB here (Debian: python3-tinydb)")
	}
	for _, there := range []bool{true, false} {
		t.Run(fmt.Sprintf("the file is there: %v", there), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if there {
				l.write("r.json", `{"_default": {"1": {"old": true}}}`)
			}
			l.write("w.py", `import sys
from tinydb import TinyDB, where
db=TinyDB("r.json"); t=db.table(sys.argv[1])
for i in range(int(sys.argv[2])): t.insert({"i":i}); t.upsert({"i":-1,"n":i},where("i")==-1)
assert len(t)==int(sys.argv[2])+1, t.all()
db.close()`)
			var commands []*exec.Cmd
			for i := range clients {
				commands = append(commands, l.guarded(results, "python3", "w.py", fmt.Sprintf("table%d", i), fmt.Sprint(inserts)))
			}
			l.together(commands...)
			doc := l.object("r.json")
			for i := range clients {
				table := doc[fmt.Sprintf("table%d", i)].(map[string]any)
				require.Len(t, table, inserts+1, "%s", l.read("r.json"))
			}
			if there {
				require.Contains(t, doc, "_default")
			}
			l.clean("r.json")
		})
	}
}

// lowdb writes .r.json.tmp in every process, and renames it.
func TestLowdb(t *testing.T) {
	for _, supervisors := range []int{1, clients} {
		t.Run(fmt.Sprintf("supervisors %d", supervisors), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.peers(t, "lowdb")
			l.write("w.mjs", `import { JSONFilePreset } from 'lowdb/node'
const [name, n] = process.argv.slice(2)
const db = await JSONFilePreset('r.json', { posts: [], by: {} })
for (let i = 0; i < +n; i++) await db.update((d) => { d.posts.push(name + i); d.by[name] = i + 1 })
`)
			l.write("r.json", `{"posts": ["old"], "by": {}}`)
			n := fmt.Sprint(inserts)
			var commands []*exec.Cmd
			if supervisors == 1 {
				commands = append(commands, l.guarded(results, "sh", "-c", "node w.mjs a "+n+" & node w.mjs b "+n+" & node w.mjs c "+n+" & node w.mjs d "+n+" & wait"))
			} else {
				for i := range clients {
					commands = append(commands, l.guarded(results, "node", "w.mjs", string(rune('a'+i)), n))
				}
			}
			l.together(commands...)
			var doc struct {
				Posts []string
				By    map[string]int
			}
			require.NoError(t, json.Unmarshal([]byte(l.read("r.json")), &doc))
			count := map[string]int{}
			for _, p := range doc.Posts {
				count[p]++
			}
			require.Equal(t, 1, count["old"])
			for i := range clients {
				name := string(rune('a' + i))
				require.Equal(t, inserts, doc.By[name])
				for k := range inserts {
					require.Equal(t, 1, count[fmt.Sprint(name, k)], "%s", l.read("r.json"))
				}
			}
			require.Len(t, doc.Posts, clients*inserts+1)
			require.NoFileExists(t, l.path(".r.json.tmp"))
			l.clean("r.json")
		})
	}
}

// eventServer keeps events in memory and in a JSON Lines file: it appends each one, reads what others appended, and now and
// then compacts the file, by writing another and renaming it: only the newest event of each key stays.
const eventServer = `import http.server,json,os,sys,threading
name,port_file="events.jsonl",sys.argv[1]
lock=threading.Lock()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version="HTTP/1.1"
    def log_message(self,*a): pass
    def answer(self,doc):
        body=json.dumps(doc).encode()
        self.send_response(200); self.send_header("Content-Length",str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_GET(self):
        with lock: self.answer([json.loads(l) for l in open(name)])
    def do_POST(self):
        event=self.rfile.read(int(self.headers["Content-Length"])).decode()
        with lock:
            if self.path=="/compact":
                kept={}
                for l in open(name): e=json.loads(l); kept[e["key"]]=e
                with open(name+"."+str(os.getpid()),"w") as f:
                    for e in kept.values(): f.write(json.dumps(e)+"\n")
                    f.flush(); os.fsync(f.fileno())
                os.replace(f.name,name)
            else:
                with open(name,"a") as f: f.write(event+"\n"); f.flush(); os.fsync(f.fileno())
        self.answer({"ok":True})
server=http.server.ThreadingHTTPServer(("127.0.0.1",0),Handler)
with open(port_file+".tmp","w") as f: f.write(str(server.server_address[1]))
os.rename(port_file+".tmp",port_file)
threading.Thread(target=lambda: (sys.stdin.read(),server.shutdown())).start()
server.serve_forever()`

// A server that keeps JSON Lines, four times: each event that a server acknowledged is there, whoever compacts.
func TestServersOfLines(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("events.jsonl", `{"key": "old", "v": 0}`+"\n")
	l.write("server.py", eventServer)
	var servers []*running
	var stop []func()
	for i := range clients {
		cmd := l.guarded([]string{"events.jsonl"}, "python3", "server.py", fmt.Sprintf("port%d", i))
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		stop = append(stop, func() { _ = in.Close() })
		servers = append(servers, l.start(cmd))
	}
	post := func(server int, path, body string) {
		address := l.path(fmt.Sprintf("port%d", server))
		var port []byte
		require.Eventually(t, func() bool { var err error; port, err = os.ReadFile(address); return err == nil }, time.Minute, 5*time.Millisecond)
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+string(port), time.Minute)
		require.NoError(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
		require.NoError(t, err)
		answer := make([]byte, 256)
		n, err := conn.Read(answer)
		require.NoError(t, err)
		require.Contains(t, string(answer[:n]), "200 OK")
	}
	for i := range clients {
		post(i, "/", fmt.Sprintf(`{"key": "start%d", "v": 0}`, i)) // all of them are up
	}
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for k := range inserts {
				post(i, "/", fmt.Sprintf(`{"key": "s%d.%d", "v": %d}`, i, k, k))
				if k == i {
					post(i, "/compact", "")
				}
			}
		})
	}
	all.Wait()
	for i, s := range servers {
		stop[i]()
		l.wait(s)
	}
	count := map[string]int{}
	for line := range strings.Lines(l.read("events.jsonl")) {
		var e struct{ Key string }
		require.NoError(t, json.Unmarshal([]byte(line), &e), "%q", line)
		count[e.Key]++
	}
	require.Len(t, count, 1+clients+clients*inserts, "%s", l.read("events.jsonl"))
	for key, n := range count {
		require.Equal(t, 1, n, "%s in %s", key, l.read("events.jsonl"))
	}
	l.clean("events.jsonl")
}
