package page

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/watch"
)

// say sends text as it is, and returns all that comes back.
func say(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(got)
}

func TestRequests(t *testing.T) {
	s, h := served(t)
	s.Publish(watch.State{File: "a.json"})
	for _, c := range []struct{ request, status, reason string }{
		{"GET /state.json HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 OK", "as browsers ask"},
		{"GET /state.json?x=1 HTTP/1.1\nhost:localhost\n\n", "200 OK", "a bare line feed ends a line (RFC 9112, section 2.2)"},
		{"GET http://localhost/state.json HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 OK", "as proxies ask"},
		{"GET http://evil.example/state.json HTTP/1.1\r\nHost: localhost\r\n\r\n", "421 Misdirected Request", "the host of the target counts"},
		{"GET /state.json HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421 Misdirected Request", "a foreign name"},
		{"GET /state.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", "400 Bad Request", "two hosts"},
		{"GET /state.json HTTP/1.1\r\nHost: localhost\r\nX: y\r\n Host: evil.example\r\n\r\n", "400 Bad Request", "a line that goes on"},
		{"GET /state.json HTTP/1.1\r\nHost : localhost\r\n\r\n", "400 Bad Request", "a space behind a name"},
		{"GET /state.json HTTP/1.1\r\n\r\n", "400 Bad Request", "no host"},
		{"GET /state.json\r\n\r\n", "400 Bad Request", "HTTP/0.9"},
		{"GET /state.json HTTP/2.0\r\nHost: localhost\r\n\r\n", "400 Bad Request", "HTTP/2"},
		{"GET  /state.json HTTP/1.1\r\nHost: localhost\r\n\r\n", "400 Bad Request", "two spaces"},
		{"\x16\x03\x01\x02\x00\x01\r\n\r\n", "400 Bad Request", "TLS"},
		{"GET /%2e%2e/page.go HTTP/1.1\r\nHost: localhost\r\n\r\n", "404 Not Found", "a way out"},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n", "431 Request Header Fields Too Large", "a long header"},
		{"POST /state.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000), "405 Method Not Allowed", "a body"},
	} {
		got := say(t, h.address, c.request)
		require.True(t, strings.HasPrefix(got, "HTTP/1.1 "+c.status+"\r\n"), "%s: %s", c.reason, got)
		require.Equal(t, c.status == "200 OK", strings.Contains(got, "a.json"), c.reason)
		_, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
		require.NoError(t, err)
	}
}

// Close ends also the connections on which nothing happens.
func TestCloseEndsEveryConnection(t *testing.T) {
	s, h := served(t)
	s.Publish(watch.State{})
	lines, _ := reader(t, h.URL)
	require.True(t, lines.Scan())
	silent, err := net.Dial("tcp", h.address)
	require.NoError(t, err)
	defer silent.Close()
	_, err = io.WriteString(silent, "GET / HT")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == 2
	}, time.Minute, time.Millisecond)
	s.Close()
	for lines.Scan() {
	}
	require.NoError(t, silent.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err = silent.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it was left open")
}

// What is understood is what net/http understands.
func FuzzReadRequest(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	f.Add("GET http://a:1/b?c HTTP/1.1\r\nHost: d\r\nX: y\r\n\r\n")
	f.Add("HEAD * HTTP/1.0\nHost:\n\n")
	f.Add("GET http://a@b%63/ HTTP/1.0\nHost: c\n\n")
	f.Add("GET /a HTTP/1.1\r\nHost: a\r\n b\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		ours, err := readRequest(strings.NewReader(text))
		if err != nil {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		require.Equal(t, theirs.Method, ours.method)
		require.Equal(t, theirs.Host, ours.host)
		target, _, _ := strings.Cut(strings.TrimPrefix(theirs.RequestURI, "http://"+theirs.Host), "?")
		require.Equal(t, target, ours.path)
	})
}
