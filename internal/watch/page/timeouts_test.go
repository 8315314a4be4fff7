package page

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pipes is a listener whose connections obey the clock of a test.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.accepted <- there
	return here
}

// servedByTheClock is a page whose readers wait for nothing but the clock of the test.
func servedByTheClock(t *testing.T, do func(t *testing.T, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
		states, feed := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- serve(p, states) }()
		_, err := io.WriteString(feed, `{"file": "a.json"}`+"\n")
		require.NoError(t, err)
		do(t, p)
		require.NoError(t, feed.Close())
		require.NoError(t, <-ended)
	})
}

// endsAfter is how long it takes until the page closes a connection.
func endsAfter(t *testing.T, c net.Conn) time.Duration {
	began := time.Now()
	require.NoError(t, c.SetReadDeadline(began.Add(time.Hour)))
	_, err := io.Copy(io.Discard, c)
	require.NoError(t, err, "it is still open")
	return time.Since(began)
}

// Who says nothing, or half of what it wants, does not stay.
func TestReadersThatDoNotAsk(t *testing.T) {
	servedByTheClock(t, func(t *testing.T, p *pipes) {
		for _, said := range []string{"", "GET / HT", "GET / HTTP/1.1\r\nHost: localhost\r\n"} {
			c := p.dial()
			_, err := io.WriteString(c, said)
			require.NoError(t, err)
			require.LessOrEqual(t, endsAfter(t, c), headerTimeout, "%q", said)
		}
		// Nor one that has had what it asked for.
		c := p.dial()
		_, err := io.WriteString(c, "GET /state.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.LessOrEqual(t, endsAfter(t, c), idleTimeout)
	})
}

// Who asks for more than the page reads is told so.
func TestARequestWithoutAnEnd(t *testing.T) {
	servedByTheClock(t, func(t *testing.T, p *pipes) {
		c := p.dial()
		const line = 1000
		var taken atomic.Int64
		go func() {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n")
			for {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("x", line)+"\r\n"); err != nil {
					return
				}
				taken.Add(line)
			}
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
		require.Less(t, taken.Load(), int64(2*maxHeader))
		require.LessOrEqual(t, endsAfter(t, c), headerTimeout)
		require.NoError(t, c.Close())
	})
}

// Who asks for the states and does not read them keeps its place for so long, and no longer; who reads stays.
func TestReadersThatDoNotRead(t *testing.T) {
	servedByTheClock(t, func(t *testing.T, p *pipes) {
		events := "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
		awake := p.dial()
		_, err := io.WriteString(awake, events)
		require.NoError(t, err)
		got := make(chan int64, 1)
		go func() {
			n, _ := io.Copy(io.Discard, awake)
			got <- n
		}()
		for range maxReaders - 1 {
			_, err := io.WriteString(p.dial(), events)
			require.NoError(t, err)
		}
		answer := func() int {
			c := p.dial()
			defer c.Close()
			_, err := io.WriteString(c, events)
			require.NoError(t, err)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err)
			return res.StatusCode
		}
		synctest.Wait()
		require.Equal(t, http.StatusServiceUnavailable, answer())
		time.Sleep(patience + time.Millisecond)
		synctest.Wait()
		require.Equal(t, http.StatusOK, answer())
		time.Sleep(10 * heartbeat)
		synctest.Wait()
		require.Empty(t, got, "who reads is still there")
	})
}
