package page

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/watch"
)

func served(t *testing.T) (*Server, *httptest.Server) {
	s := New()
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return s, h
}

func ask(t *testing.T, method, url, host string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader("x"))
	require.NoError(t, err)
	if host != "" {
		r.Host = host
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}

func TestNobodyChangesAnything(t *testing.T) {
	s, h := served(t)
	s.Publish(watch.State{File: "a.json"}.WithHistory())
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
		for _, path := range []string{"/", "/state.json", "/events"} {
			res, _ := ask(t, method, h.URL+path, "")
			require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, "%s %s", method, path)
			require.Equal(t, "GET, HEAD", res.Header.Get("Allow"))
		}
	}
	for _, path := range []string{"/", "/state.json", "/events", "/watch.js", "/style.css", "/icon.svg"} {
		res, body := ask(t, "HEAD", h.URL+path, "")
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		require.Empty(t, body)
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.NotContains(t, res.Header.Get("Content-Security-Policy"), "unsafe")
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
		require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
	}
	for _, path := range []string{"/page.go", "/../page.go", "/assets/index.html", "/etc/passwd"} {
		res, _ := ask(t, "GET", h.URL+path, "")
		require.Equal(t, http.StatusNotFound, res.StatusCode, path)
	}
}

// A name that somebody else made to point here gets nothing, whatever it asks for.
func TestForeignHostNames(t *testing.T) {
	s, h := served(t)
	s.Publish(watch.State{File: "secret.json"}.WithHistory())
	for _, host := range []string{"evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "[evil]:1", "127.0.0.1@evil.example"} {
		for _, path := range []string{"/", "/state.json", "/events"} {
			res, body := ask(t, "GET", h.URL+path, host)
			require.Equal(t, http.StatusMisdirectedRequest, res.StatusCode, "%s %s", host, path)
			require.NotContains(t, body, "secret")
		}
	}
	own, _ := os.Hostname()
	for _, host := range []string{"", "localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:1", "[::1]", "192.0.2.7:80", own + ":80"} {
		res, body := ask(t, "GET", h.URL+"/state.json", host)
		require.Equal(t, http.StatusOK, res.StatusCode, host)
		require.Contains(t, body, "secret")
	}
}

func TestThePageBringsEverythingWithIt(t *testing.T) {
	_, h := served(t)
	res, body := ask(t, "GET", h.URL, "")
	require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
	require.NotContains(t, body, "://")
	for _, name := range []string{"watch.js", "style.css"} {
		require.Contains(t, body, name)
		_, text := ask(t, "GET", h.URL+"/"+name, "")
		require.NotContains(t, strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""), "://", name)
	}
	for _, unsafe := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval("} {
		_, text := ask(t, "GET", h.URL+"/watch.js", "")
		require.NotContains(t, text, unsafe)
	}
}

// reader is one that has opened /events.
func reader(t *testing.T, url string) (*bufio.Scanner, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/events", nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return lines, cancel
}

// versionsUntil reads until a state has that many versions.
func versionsUntil(lines *bufio.Scanner, want int) error {
	last := -1
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var s watch.State
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return err
		}
		if s.Versions < last {
			return fmt.Errorf("%d after %d", s.Versions, last)
		}
		if last = s.Versions; last == want {
			return nil
		}
	}
	return fmt.Errorf("the stream ended at %d: %v", last, lines.Err())
}

// Every reader comes to the newest state; one that does not read at all holds up neither the others nor who publishes.
func TestManyReadersAndASlowOne(t *testing.T) {
	s, h := served(t)
	s.Publish(watch.State{}.WithHistory())
	asleep, err := net.Dial("tcp", h.Listener.Addr().String())
	require.NoError(t, err)
	defer asleep.Close()
	_, err = io.WriteString(asleep, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	const readers = 8
	ended := make(chan error, readers)
	for range readers {
		lines, _ := reader(t, h.URL)
		go func() { ended <- versionsUntil(lines, 300) }()
	}
	big := strings.Repeat("x", 50_000) // more than the sockets take for one that sleeps
	for i := 1; i <= 300; i++ {
		s.Publish(watch.State{Versions: i, File: big}.WithHistory())
	}
	for range readers {
		require.NoError(t, <-ended)
	}
	lines, _ := reader(t, h.URL) // one that comes later
	require.NoError(t, versionsUntil(lines, 300))
}

// There is room for so many, and who goes makes room.
func TestReadersComeAndGo(t *testing.T) {
	s, h := served(t)
	s.Publish(watch.State{}.WithHistory())
	var ends []context.CancelFunc
	for range maxReaders {
		lines, end := reader(t, h.URL)
		require.True(t, lines.Scan())
		ends = append(ends, end)
	}
	res, _ := ask(t, "GET", h.URL+"/events", "")
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	ends[0]()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.readers < maxReaders
	}, time.Minute, 10*time.Millisecond)
	lines, _ := reader(t, h.URL)
	require.True(t, lines.Scan())
}

func TestNothingSeenYet(t *testing.T) {
	_, h := served(t)
	res, _ := ask(t, "GET", h.URL+"/state.json", "")
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
}

func TestStateHasTheHistory(t *testing.T) {
	s, h := served(t)
	began := time.UnixMilli(1_700_000_000_000)
	s.Publish(watch.State{File: "</script>", History: &watch.History{Began: began, Step: time.Second, Last: 9, Steps: []watch.Step{{Count: 1, Versions: 2, Size: 3}}}}.WithHistory())
	_, body := ask(t, "GET", h.URL+"/state.json", "")
	require.Contains(t, body, fmt.Sprintf(`"began":%d,"step":1000,"last":9,"steps":[[1,2,3]]}`, began.UnixMilli()))
	require.NotContains(t, body, "</script>")
}
