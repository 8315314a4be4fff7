package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var pictures = flag.String("pictures", "", "make the pictures of the documentation again, in this directory")

// runner is a program as people write it: read all, add a record, write all.
const runner = `import json, random, sys, time
path, model, tests = sys.argv[1], sys.argv[2], int(sys.argv[3])
random.seed(model)
for i in range(tests):
    time.sleep(random.uniform(0.2, 1.2))
    with open(path) as f:
        data = json.load(f)
    record = {"prompt_type": random.choice(["plain", "few-shot", "chain"]), "success": random.random() < 0.7, "seconds": round(random.uniform(1, 9), 2)}
    data["models"].setdefault(model, {"results": []})["results"].append(record)
    with open(path, "w") as f:
        json.dump(data, f, indent=2)
`

var runnersOf = []string{"falcon-180b", "falcon-40b", "command-r", "DeepSeek-R1-0528", "DeepSeek-V3-0324", "gemini-pro", "gemma-3-27b", "gpt-4o", "gpt-4o-mini",
	"grok-3", "Llama-3.3-70B-Instruct", "mistral-large", "o3-mini", "phi-4", "qwen2.5-32b-instruct", "qwen2.5-72b-instruct", "yi-large"}

// The pictures are made by
//
//	go test ./cmd/jsonguard -run TestWatchPictures -pictures ../../docs/pictures
//
// 17 runners under jsonguard exec are watched on a terminal and as a page; then a program without jsonguard writes back a
// list that it had read earlier. What both look like then are the pictures of the documentation.
func TestWatchPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("makes the pictures of the documentation: -pictures DIR")
	}
	dir, err := os.MkdirTemp("", "evaluation-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // after the runners' ends
	file := filepath.Join(dir, "results.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"models": {}}`), 0o644))
	program := filepath.Join(dir, "runner.py")
	require.NoError(t, os.WriteFile(program, []byte(runner), 0o644))

	cmd := jsonguard(t, "watch", "results.json", "--grow", "/models/*/results", "--serve", "127.0.0.1:0")
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "NO_COLOR=", "TERM=xterm-256color")
	screen := onTerminal(t, 118, 46, cmd)
	screen.shows("http://")
	url := regexp.MustCompile(`http://[0-9.:]+/`).FindString(strings.Join(screen.frame(), "\n"))
	b := openBrowser(t, 1080, 1000)
	b.open(url)

	for _, model := range runnersOf {
		run := jsonguard(t, "exec", "-q", "--file", "results.json", "--", "python3", "runner.py", "{}", model, "1000")
		run.Dir = dir
		run.Env = append(run.Environ(), "PATH=/usr/bin:"+os.Getenv("PATH"))
		require.NoError(t, run.Start())
		t.Cleanup(func() {
			_ = run.Process.Signal(syscall.SIGTERM)
			_ = run.Wait()
		})
	}
	const victim = "DeepSeek-V3-0324"
	screen.shows("17 live")
	time.Sleep(9 * time.Second) // of the picture
	results := func() (doc map[string]map[string]map[string][]json.RawMessage) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &doc))
		return doc
	}
	old := results()["models"][victim]["results"]
	time.Sleep(18 * time.Second)
	doc := results()
	doc["models"][victim]["results"] = old
	text, err := json.MarshalIndent(doc, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file+".new", text, 0o644))
	require.NoError(t, os.Rename(file+".new", file))
	screen.shows(victim + "/results SHRANK")
	b.until(`!document.getElementById("alarms").hidden`)
	time.Sleep(6 * time.Second) // of what comes after
	b.until(`document.querySelectorAll("#writers td.live").length === 17`)

	save := func(name string, png []byte) {
		require.Less(t, len(png), 200_000)
		require.NoError(t, os.MkdirAll(*pictures, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, name), png, 0o644))
	}
	height := b.evaluate(`Math.ceil(document.documentElement.getBoundingClientRect().height)`)
	var h int
	_, err = fmt.Sscan(height, &h)
	require.NoError(t, err)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1080, "height": h, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.until("innerHeight === " + height)
	save("watch-page.png", b.picture())

	page := filepath.Join(dir, "screen.html")
	require.NoError(t, os.WriteFile(page, []byte(asPage(screen.frame())), 0o644))
	b.open("file://" + page)
	b.until(`document.querySelector("pre") !== null`)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1010, "height": 800, "deviceScaleFactor": 1, "mobile": false}, nil)
	_, err = fmt.Sscan(b.evaluate(`Math.ceil(document.querySelector("pre").getBoundingClientRect().height)`), &h)
	require.NoError(t, err)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 1010, "height": h, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.until(fmt.Sprint("innerHeight === ", h))
	save("watch-terminal.png", b.picture())
}

var look = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// asPage draws the lines of a terminal.
func asPage(lines []string) string {
	text := html.EscapeString(strings.Join(lines, "\n"))
	text = look.ReplaceAllStringFunc(text, func(code string) string {
		number := look.FindStringSubmatch(code)[1]
		if number == "0" {
			return "</span>"
		}
		return `<span class="s` + strings.ReplaceAll(number, ";", "-") + `">`
	})
	return `<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #11151c; }
pre { margin: 0; padding: 16px 18px; color: #d5dbe5; font: 14px/16px "DejaVu Sans Mono", monospace; }
.s1 { font-weight: bold; color: #fff; } .s2 { color: #77839a; } .s31 { color: #ff6b6b; } .s32 { color: #56d37f; } .s33 { color: #f2c14e; } .s36 { color: #4fd1c5; }
.s1-97-41 { font-weight: bold; color: #fff; background: #c62828; }
</style><pre>` + text + `</pre>`
}
