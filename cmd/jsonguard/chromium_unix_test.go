//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// browser is a headless Chromium, driven over the DevTools protocol (chromedevtools.github.io) through two pipes, one
// JSON text after the other, each with a NUL behind it.
type browser struct {
	t       *testing.T
	in      io.Writer
	answers chan devtoolsAnswer
	number  int
	session string // of the page that is open
	said    *bytes.Buffer
}

type devtoolsAnswer struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// slow is how long a browser on a busy machine may take for anything.
const slow = 2 * time.Minute

// openBrowser starts Chromium with an empty page of that size.
func openBrowser(t *testing.T, width, height int) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("SKIPPED: no chromium: the page was not looked at by a browser")
	}
	theirs, in, err := os.Pipe()
	require.NoError(t, err)
	out, ours, err := os.Pipe()
	require.NoError(t, err)
	profile, err := os.MkdirTemp("", "jsonguard-chromium-")
	require.NoError(t, err)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{theirs, ours}
	b := &browser{t: t, in: in, answers: make(chan devtoolsAnswer, 100), said: new(bytes.Buffer)}
	cmd.Stderr = b.said
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start())
	_ = theirs.Close()
	_ = ours.Close()
	t.Cleanup(func() {
		_ = in.Close() // it ends then
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = os.RemoveAll(profile)
	})
	go b.listen(out)

	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call("Page.enable", nil, nil)
	b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `window.wrong = [];
		addEventListener("error", (e) => wrong.push("error: " + e.message));
		addEventListener("securitypolicyviolation", (e) => wrong.push("policy: " + e.violatedDirective + " " + e.blockedURI));`}, nil)
	return b
}

func (b *browser) listen(out io.Reader) {
	defer close(b.answers)
	r := bufio.NewReader(out)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var a devtoolsAnswer
		if json.Unmarshal(text[:len(text)-1], &a) == nil && a.ID > 0 { // others are events
			b.answers <- a
		}
	}
}

func (b *browser) try(method string, params, result any) error {
	b.number++
	call := map[string]any{"id": b.number, "method": method}
	if params != nil {
		call["params"] = params
	}
	if b.session != "" {
		call["sessionId"] = b.session
	}
	text, err := json.Marshal(call)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return err
	}
	late := time.After(slow)
	for {
		select {
		case a, ok := <-b.answers:
			switch {
			case !ok:
				return errors.New("chromium ended")
			case a.ID != b.number:
				continue
			case a.Error != nil:
				return errors.New(a.Error.Message)
			case result == nil:
				return nil
			}
			return json.Unmarshal(a.Result, result)
		case <-late:
			return errors.New("no answer")
		}
	}
}

func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	require.NoError(b.t, b.try(method, params, result), "%s: %s", method, b.said)
}

func (b *browser) open(url string) { b.call("Page.navigate", map[string]any{"url": url}, nil) }

// evaluate returns the value of a JavaScript expression, as text.
func (b *browser) evaluate(expression string) string {
	b.t.Helper()
	var out struct {
		Result struct{ Value any }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": "String(" + expression + ")", "returnByValue": true}, &out)
	return fmt.Sprint(out.Result.Value)
}

// until waits for an expression to be true.
func (b *browser) until(expression string) {
	b.t.Helper()
	for late := time.Now().Add(slow); time.Now().Before(late); time.Sleep(50 * time.Millisecond) {
		if b.evaluate(expression) == "true" {
			return
		}
	}
	b.t.Fatalf("waited for %s; the page says:\n%s", expression, b.evaluate("document.body.innerText"))
}

// picture is what the page looks like, as PNG.
func (b *browser) picture() []byte {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	require.NoError(b.t, err)
	return png
}
