package page

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// Exit statuses, as jsonguard has them.
const (
	statusUsage = 64
	statusIO    = 74
)

const (
	headerTimeout = 10 * time.Second // for a reader to say what it wants
	idleTimeout   = time.Minute      // and to ask for something else
	maxHeader     = 16 << 10         // bytes
)

// Run is the executable jsonguard-page without the process: its streams in, its exit status out. Its arguments are a network and an
// address to listen at. The address that it listens at is the one line on stdout, what went wrong one on stderr. Each line of
// stdin is a state; it ends with them.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) != 2 {
		fmt.Fprintln(stderr, "jsonguard-page is a part of jsonguard: use jsonguard watch --serve")
		return statusUsage
	}
	listener, err := net.Listen(args[0], args[1])
	if err == nil {
		_, err = fmt.Fprintln(stdout, listener.Addr())
	}
	if err == nil {
		err = serve(listener, stdin)
	}
	if err != nil {
		fmt.Fprintln(stderr, plain(err))
		return statusIO
	}
	return 0
}

// serve shows what comes, until nothing comes any more.
func serve(listener net.Listener, states io.Reader) error {
	s := New()
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	lines := bufio.NewReader(states)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil { // of a last one the end is missing: who sent it is gone
			break
		}
		s.Publish(line[:len(line)-1])
	}
	_ = server.Close() // readers of events never end by themselves
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// plain takes operation and address off.
func plain(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}
