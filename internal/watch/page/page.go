// Package page serves the states of package watch as one small web page with a live chart. It is the only one that holds net/http, and
// only jsonguard-page holds it.
//
// Nothing can be changed through it: it answers GET and HEAD, and nothing it is sent is taken in. A request whose Host is
// neither an address nor a name of this machine is refused, so that a page of somebody else, whose name was made to point
// here (DNS rebinding), reads nothing. What the file holds is put into the page as text, and a Content-Security-Policy forbids any
// script and style that are not the page's own.
package page

import (
	"embed"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
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
}

// New makes a Server that has nothing to show yet.
func New() *Server { return &Server{changed: make(chan struct{})} }

const (
	maxReaders = 64
	heartbeat  = 15 * time.Second // so that a reader that went away is noticed
	patience   = 10 * time.Second // for one that does not read
)

// Publish makes a state the newest: a JSON text, of [watch.State.WithHistory].
func (s *Server) Publish(text []byte) {
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

// Handler serves the page at /, the states as server-sent events at /events and the newest one at /state.json.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // it is built in
	}
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("/events", s.events)
	mux.HandleFunc("/state.json", s.state)
	host, _ := os.Hostname()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !ownHost(r.Host, host):
			http.Error(w, "this host name is not mine", http.StatusMisdirectedRequest)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "there is nothing to change here", http.StatusMethodNotAllowed)
		default:
			mux.ServeHTTP(w, r)
		}
	})
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

func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	text, _, _ := s.latest()
	if text == nil {
		http.Error(w, "nothing was seen yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // a reader that went away is no error of ours
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	if !s.enter() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many readers", http.StatusServiceUnavailable)
		return
	}
	defer s.leave()
	out := http.NewResponseController(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	sent := 0
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(patience)) // where there is none, TCP gives up in the end
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	if !send("retry: 1000\n\n") {
		return
	}
	for {
		text, number, changed := s.latest()
		if number != sent {
			if !send(fmt.Sprintf("id: %d\ndata: %s\n\n", number, text)) {
				return
			}
			sent = number
		}
		select {
		case <-changed:
		case <-beat.C:
			if !send(":\n\n") {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
