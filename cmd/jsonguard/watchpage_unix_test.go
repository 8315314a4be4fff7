//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serving starts jsonguard watch --serve, and returns where the page is and how to end it, which returns the status.
func serving(t *testing.T, file string, args ...string) (url string, end func() int) {
	t.Helper()
	cmd := jsonguard(t, append([]string{"watch", "--json", file, "--serve", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	require.True(t, lines.Scan())
	var first struct{ Serving string }
	require.NoError(t, json.Unmarshal(lines.Bytes(), &first))
	ended := make(chan int, 1)
	go func() {
		for lines.Scan() {
		}
		_ = cmd.Wait()
		ended <- cmd.ProcessState.ExitCode()
	}()
	done := false
	end = func() int {
		done = true
		_ = cmd.Process.Signal(syscall.SIGINT)
		return <-ended
	}
	t.Cleanup(func() {
		if !done {
			end()
		}
	})
	return first.Serving, end
}

// In a real browser the page follows the file: figures and chart move, what shrinks is loud, and what the file holds is text.
func TestWatchPageInABrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t, 1080, 900)
	file := filepath.Join(t.TempDir(), "re<b>sults.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"models": {"<img src=x onerror=wrong.push(1)>": {"results": [1, 2]}, "gpt": {"results": [1]}}}`), 0o644))
	url, end := serving(t, file, "--records", "/models/*/results/*", "--grow", "/models/*/results")
	b.open(url)
	b.until(`document.body.dataset.link === "live" && document.querySelectorAll(".figure b").length > 0`)
	b.until(`document.querySelector(".figure b").textContent === "3"`)
	require.Equal(t, "re<b>sults.json", b.evaluate(`document.getElementById("name").textContent`))
	require.Equal(t, "true", b.evaluate(`document.getElementById("alarms").hidden`))
	before := b.evaluate(`document.querySelector("#chart .line").getAttribute("points")`)

	succeed(t, "append", file, "/models/gpt/results", "2")
	b.until(`document.querySelector(".figure b").textContent === "4"`)
	b.until(`[...document.querySelectorAll("#chart text")].some((e) => e.textContent === "4")`)
	require.NotEqual(t, before, b.evaluate(`document.querySelector("#chart .line").getAttribute("points")`), "the chart moved")
	b.until(`document.querySelectorAll("#versions .bar").length > 0`)

	succeed(t, "set", file, "/models/<img src=x onerror=wrong.push(1)>/results", "[]")
	b.until(`!document.getElementById("alarms").hidden`)
	require.Contains(t, b.evaluate(`document.getElementById("alarms").innerText`), "/models/<img src=x onerror=wrong.push(1)>/results shrank from 2 to 0: 2 lost")
	require.Equal(t, "rgb(220, 38, 38)", b.evaluate(`getComputedStyle(document.getElementById("alarms")).backgroundColor`), "its style is in force")
	require.Equal(t, "", b.evaluate("wrong.join()"), "no error, nothing against the policy")
	require.Equal(t, statusMissing, end())
	b.until(`document.body.dataset.link === "lost"`)
}

// The watching does not depend on its page.
func TestWatchGoesOnWithoutItsPage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"a": [1, 2]}`), 0o644))
	out, err := os.Create(filepath.Join(t.TempDir(), "said"))
	require.NoError(t, err)
	defer out.Close()
	said := func() string {
		text, err := os.ReadFile(out.Name())
		require.NoError(t, err)
		return string(text)
	}
	cmd := jsonguard(t, "watch", file, "--grow", "/a", "--serve", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	shows := func(what string) func() bool { return func() bool { return strings.Contains(said(), what) } }
	require.Eventually(t, shows("the page is at"), time.Minute, 5*time.Millisecond)
	page := 0
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
	require.NoError(t, err)
	for _, thread := range threads {
		if text, err := os.ReadFile(thread); err == nil && len(text) > 0 {
			page, err = strconv.Atoi(strings.TrimSpace(string(text)))
			require.NoError(t, err, "%s", text)
		}
	}
	if page == 0 {
		t.Skip("SKIPPED: the system does not say which the page's process is")
	}
	require.NoError(t, syscall.Kill(page, syscall.SIGKILL))
	require.Eventually(t, func() bool { // it has let go of its end of the pipe
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", page))
		return err == nil && strings.Contains(string(stat), ") Z ")
	}, time.Minute, 5*time.Millisecond)
	succeed(t, "set", file, "/a", "[1]")
	require.Eventually(t, shows("SHRANK from 2 to 1"), time.Minute, 5*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Error(t, cmd.Wait())
	require.Equal(t, statusMissing, cmd.ProcessState.ExitCode())
	require.Equal(t, 1, strings.Count(said(), "jsonguard-page has ended"), said())
}

func succeed(t *testing.T, args ...string) {
	t.Helper()
	out, err := jsonguard(t, args...).CombinedOutput()
	var exit *exec.ExitError
	require.NotErrorAs(t, err, &exit, "%s", out)
	require.NoError(t, err)
}
