// Package page serves the states of package watch as one small web page with a live chart.
//
// Nothing can be changed through it: it answers GET and HEAD, and nothing it is sent is taken in. A request whose Host is
// neither an address nor a name of this machine is refused, so that a page of somebody else, whose name was made to point
// here (DNS rebinding), reads nothing. What the file holds is put into the page as text, and a Content-Security-Policy forbids any
// script and style that are not the page's own.
package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"jsonguard/internal/watch"
)

//go:embed assets
var assets embed.FS

// Server hands states to any number of readers. Each gets the newest when it is ready for one: a slow one misses states, and
// holds up nobody.
type Server struct {
	mu      sync.Mutex
	newest  []byte
	number  int
	changed chan struct{} // closed when there is a newer one
	readers int

	listener net.Listener
	conns    map[net.Conn]struct{}
	closed   bool
}

// New makes a Server that has nothing to show yet.
func New() *Server { return &Server{changed: make(chan struct{}), conns: map[net.Conn]struct{}{}} }

const (
	maxReaders = 64
	heartbeat  = 15 * time.Second // so that a reader that went away is noticed
	patience   = 10 * time.Second // for one that does not read
)

// shown is what the page gets: a State with its History, in milliseconds.
type shown struct {
	watch.State
	Began int64      `json:"began"`
	Step  int64      `json:"step"`
	Last  int64      `json:"last"`
	Steps [][3]int64 `json:"steps"` // count, versions, size
}

// Publish makes s the newest state.
func (s *Server) Publish(state watch.State) {
	out := shown{State: state, Steps: [][3]int64{}}
	if h := state.History; h != nil {
		out.Began, out.Step, out.Last = h.Began.UnixMilli(), h.Step.Milliseconds(), h.Last
		for _, step := range h.Steps {
			out.Steps = append(out.Steps, [3]int64{step.Count, int64(step.Versions), step.Size})
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic(fmt.Sprintf("encode a state: %v", err)) // it has nothing that cannot be
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = text
	s.number++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) latest() (text []byte, number int, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest, s.number, s.changed
}

// enter counts a reader in, and says whether there is room for it.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == maxReaders {
		return false
	}
	s.readers++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers--
}

// answer serves the page at /, the states as server-sent events at /events and the newest one at /state.json.
func (s *Server) answer(a *answer, r request) {
	a.set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	a.set("X-Content-Type-Options", "nosniff")
	a.set("Referrer-Policy", "no-referrer")
	a.set("Cross-Origin-Resource-Policy", "same-origin")
	a.set("Cache-Control", "no-store")
	hostname, _ := os.Hostname()
	switch {
	case !ownHost(r.host, hostname):
		a.fail(421, "this host name is not mine")
	case r.method != "GET" && r.method != "HEAD":
		a.set("Allow", "GET, HEAD")
		a.fail(405, "there is nothing to change here")
	case r.path == "/events":
		s.events(a)
	case r.path == "/state.json":
		s.state(a)
	default:
		file(a, r.path)
	}
}

// file serves one of the assets.
func file(a *answer, name string) {
	if name == "/" || name == "" {
		name = "/index.html"
	}
	content, err := assets.ReadFile("assets" + name)
	if err != nil {
		a.fail(404, "there is no such page")
		return
	}
	a.whole(200, contentType(name), string(content))
}

func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

// ownHost says whether a Host header names this machine: by an address, which no DNS can change, or by a name of its own.
func ownHost(header, hostname string) bool {
	name := header
	if host, _, err := net.SplitHostPort(header); err == nil {
		name = host
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	return net.ParseIP(name) != nil || strings.EqualFold(name, "localhost") || hostname != "" && strings.EqualFold(name, hostname)
}

func (s *Server) state(a *answer) {
	text, _, _ := s.latest()
	if text == nil {
		a.fail(503, "nothing was seen yet")
		return
	}
	a.whole(200, "application/json", string(text)+"\n")
}

func (s *Server) events(a *answer) {
	if !a.head && !s.enter() {
		a.set("Retry-After", "10")
		a.fail(503, "too many readers")
		return
	}
	a.set("Content-Type", "text/event-stream")
	if a.head {
		_ = a.begin(200) // who went away is no error of ours
		return
	}
	defer s.leave()
	if a.begin(200) != nil || a.write("retry: 1000\n\n") != nil {
		return
	}
	gone := make(chan struct{})
	if a.conn.SetReadDeadline(time.Time{}) != nil {
		return
	}
	go func() { // ends with the connection
		defer close(gone)
		_, _ = io.Copy(io.Discard, a.conn)
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	sent := 0
	for {
		text, number, changed := s.latest()
		if number != sent {
			if a.write(fmt.Sprintf("id: %d\ndata: %s\n\n", number, text)) != nil {
				return
			}
			sent = number
		}
		select {
		case <-changed:
		case <-beat.C:
			if a.write(":\n\n") != nil {
				return
			}
		case <-gone:
			return
		}
	}
}
