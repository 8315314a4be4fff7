package page

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// What a page needs of HTTP/1.1 (RFC 9112), on package net alone: requests whose body nobody reads, and one of them a connection.
// Package net/http, with all of TLS behind it, took a quarter of the time in which a verb starts (docs/adr/0029).

const (
	maxHead  = 16 << 10         // bytes of request line and header
	headTime = 10 * time.Second // for them to come
	lastTime = time.Second      // for a reader to take the end of an answer
	maxBody  = 256 << 10        // what is read, and not looked at, of one that sends a body in the meantime
)

// request is what is looked at of one.
type request struct {
	method string
	host   string
	path   string // as it was sent, without the query
}

// badRequest is why a request is not understood.
type badRequest struct {
	status int
	text   string
}

func (e badRequest) Error() string { return e.text }

// readRequest reads request line and header. What two readers of HTTP could understand differently is refused.
func readRequest(from io.Reader) (request, error) {
	limited := &io.LimitedReader{R: from, N: maxHead}
	lines := bufio.NewReader(limited)
	line := func() (string, error) {
		text, err := lines.ReadString('\n')
		if err != nil {
			if limited.N == 0 {
				return "", badRequest{431, "the header is too long"}
			}
			return "", err
		}
		return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), nil
	}
	first, err := line()
	if err != nil {
		return request{}, err
	}
	method, rest, _ := strings.Cut(first, " ")
	target, version, _ := strings.Cut(rest, " ")
	r := request{method: method, path: target}
	behind, absolute := strings.CutPrefix(target, "http://")
	if absolute { // as to a proxy; its host counts
		i := strings.IndexAny(behind+"/", "/?")
		r.host, r.path = behind[:i], behind[i:]
	}
	if !isToken(method) || !printable(target) || !absolute && target[0] != '/' || absolute && (r.host == "" || strings.ContainsAny(r.host, "@%")) || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return request{}, badRequest{400, "this is no request of HTTP/1.1"}
	}
	r.path, _, _ = strings.Cut(r.path, "?")
	hosts := 0
	for {
		field, err := line()
		if err != nil {
			return request{}, err
		}
		if field == "" {
			break
		}
		name, value, ok := strings.Cut(field, ":")
		if !ok || !isToken(name) { // also a line that goes on with the last one
			return request{}, badRequest{400, "this is no header of HTTP/1.1"}
		}
		if strings.EqualFold(name, "Host") {
			hosts++
			if !absolute {
				r.host = strings.Trim(value, " \t")
			}
		}
	}
	if hosts != 1 {
		return request{}, badRequest{400, "a request names one host"}
	}
	return r, nil
}

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// printable says whether s can be the target of a request.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return s != ""
}

// reasons are the words of the statuses that are answered.
var reasons = [...]struct {
	status int
	words  string
}{
	{200, "OK"}, {400, "Bad Request"}, {404, "Not Found"}, {405, "Method Not Allowed"}, {421, "Misdirected Request"},
	{431, "Request Header Fields Too Large"}, {503, "Service Unavailable"},
}

func reason(status int) string {
	for _, r := range reasons {
		if r.status == status {
			return r.words
		}
	}
	return "Error"
}

// answer is one response. Its header goes out with the first bytes behind it.
type answer struct {
	conn   net.Conn
	head   bool // only the header is wanted
	header strings.Builder
}

func (a *answer) set(name, value string) { a.header.WriteString(name + ": " + value + "\r\n") }

// begin writes the header.
func (a *answer) begin(status int) error {
	return a.write(fmt.Sprintf("HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n%s\r\n",
		status, reason(status), time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), a.header.String()))
}

// write gives a reader that does not read some time.
func (a *answer) write(text string) error {
	if err := a.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(a.conn, text)
	return err
}

// whole is an answer whose end is known.
func (a *answer) whole(status int, contentType, body string) {
	a.set("Content-Type", contentType)
	a.set("Content-Length", strconv.Itoa(len(body)))
	if a.head {
		body = ""
	}
	if a.begin(status) == nil && body != "" {
		_ = a.write(body) // who went away is no error of ours
	}
}

func (a *answer) fail(status int, text string) {
	a.whole(status, "text/plain; charset=utf-8", text+"\n")
}

// Serve answers who connects to l, until Close, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return l.Close()
	}
	room := make(chan struct{}, 2*maxReaders) // who comes above that waits to be accepted
	for {
		room <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			<-room
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			switch {
			case closed:
				return nil
			case errors.Is(err, net.ErrClosed):
				return err
			}
			time.Sleep(50 * time.Millisecond) // there are too many files open; that passes
			continue
		}
		go func() {
			defer func() { <-room }()
			s.converse(conn)
		}()
	}
}

// Close ends Serve, and every connection.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.listener != nil {
		_ = s.listener.Close()
	}
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *Server) converse(conn net.Conn) {
	defer conn.Close()
	defer s.forget(conn)
	if !s.keep(conn) {
		return
	}
	if conn.SetReadDeadline(time.Now().Add(headTime)) != nil {
		return
	}
	r, err := readRequest(conn)
	a := &answer{conn: conn, head: r.method == "HEAD"}
	var bad badRequest
	switch {
	case errors.As(err, &bad):
		a.fail(bad.status, bad.text)
	case err != nil:
		return // nobody is there, or says nothing
	default:
		s.answer(a, r)
	}
	// Closed while something unread is there, a connection is reset, and the answer may be lost on its way (RFC 9112, section 9.6).
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil && conn.SetReadDeadline(time.Now().Add(lastTime)) == nil {
		_, _ = io.CopyN(io.Discard, conn, maxBody)
	}
}

func (s *Server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = struct{}{}
	return !s.closed
}

func (s *Server) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}
