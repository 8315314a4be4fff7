//go:build linux

package interception

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	perRunner = flag.Int("results", 8, "results of each of the 17 runners; 66 is the campaign")
	seed      = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of who is killed when")
)

// runner is the program that nobody changed: its path is hard-coded, it reads all, adds a result, writes all. It says an
// id when it has finished writing it.
const runner = `import json,os,sys,time
name,first,n=sys.argv[1],int(sys.argv[2]),int(sys.argv[3])
os.write(1,b"pid %d\n"%os.getpid())
for i in range(first,n):
    id="%s-%d"%(name,i)
    time.sleep(.003)
    d=json.load(open("results.json"))
    m=d["models"].setdefault(name[:-1],{"total":0,"tests":{}})
    m["tests"][id]={"ok":i%3!=0,"took":i/7}
    with open("results.json","w") as f:
        json.dump(d,f,indent=2)
    os.write(1,b"done %s\n"%id.encode())
`

// crew starts runners, kills them and starts them again.
type crew struct {
	*lab
	mu   sync.Mutex
	done map[string]bool // ids that were finished
	live map[string]*member
}

type member struct {
	supervisor *exec.Cmd
	python     int // pid, 0: not said yet
}

func (c *crew) run(name string, n int) {
	for first := 0; first < n; {
		cmd := c.guarded([]string{"results.json"}, "python3", "runner.py", name, strconv.Itoa(first), strconv.Itoa(n))
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.StdoutPipe()
		if err != nil {
			c.Error(err)
			return
		}
		c.mu.Lock()
		if err := cmd.Start(); err != nil {
			c.mu.Unlock()
			c.Error(err)
			return
		}
		me := &member{supervisor: cmd}
		c.live[name] = me
		c.mu.Unlock()
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			word, value, _ := strings.Cut(lines.Text(), " ")
			c.mu.Lock()
			switch word {
			case "pid":
				me.python, _ = strconv.Atoi(value)
			case "done":
				c.done[value] = true
				first++
			}
			c.mu.Unlock()
		}
		err = cmd.Wait()
		c.mu.Lock()
		delete(c.live, name)
		c.mu.Unlock()
		if err != nil && !strings.Contains(err.Error(), "killed") {
			c.Errorf("runner %s: %v: %s", name, err, &complaints)
			return
		}
	}
}

// kill takes a live runner at random, or its supervisor.
func (c *crew) kill(random *rand.Rand, supervisor bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name, m := range c.live {
		if m.python != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return false
	}
	m := c.live[names[random.IntN(len(names))]]
	pid := m.python
	if supervisor {
		pid = m.supervisor.Process.Pid
	}
	m.python = 0 // once
	p, err := os.FindProcess(pid)
	return err == nil && p.Kill() == nil
}

// 17 processes, a hard-coded path, killed in the middle of it and started again, twice their supervisors too: everything
// that one of them finished writing is in the file, and nobody outside ever sees a part of one.
func TestSeventeenRunners(t *testing.T) {
	needs(t, "python3")
	t.Logf("seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	c := &crew{lab: newLab(t), done: map[string]bool{}, live: map[string]*member{}}
	c.write("results.json", "{\n  \"models\": {}\n}")
	c.write("runner.py", runner)
	finished := make(chan struct{})
	var outside, all sync.WaitGroup
	outside.Go(func() {
		for reads := 0; ; reads++ {
			select {
			case <-finished:
				t.Logf("%d reads from outside", reads)
				return
			default:
			}
			content, err := os.ReadFile(c.path("results.json"))
			if err != nil || !json.Valid(content) {
				t.Errorf("a reader outside: %v: %.200s", err, content)
				return
			}
		}
	})
	for i := range 17 {
		all.Go(func() { c.run(fmt.Sprintf("model-%c%d", 'a'+i%4, i%10)+string(rune('a'+i)), *perRunner) })
	}
	kills := 20
	if *perRunner < 66 {
		kills = 6
	}
	for i := 0; i < kills; {
		time.Sleep(time.Duration(20+random.IntN(200)) * time.Millisecond)
		c.mu.Lock()
		over := len(c.done) >= 17*(*perRunner)
		c.mu.Unlock()
		if over {
			break
		}
		if c.kill(random, i%(kills/2) == 1) {
			i++
		}
	}
	all.Wait()
	close(finished)
	outside.Wait()
	if t.Failed() {
		return
	}
	// What a killed supervisor left is folded by the next use.
	out, err := exec.Command(binary, "recover", c.path("results.json")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	var doc struct {
		Models map[string]struct{ Tests map[string]any }
	}
	require.NoError(t, json.Unmarshal([]byte(c.read("results.json")), &doc))
	there := map[string]bool{}
	for _, m := range doc.Models {
		for id := range m.Tests {
			there[id] = true
		}
	}
	for id := range c.done {
		require.True(t, there[id], "%s was finished and is not there (%d of %d are)", id, len(there), len(c.done))
	}
	require.GreaterOrEqual(t, len(there), 17*(*perRunner))
}
