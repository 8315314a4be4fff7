package main

import (
	"bufio"
	"bytes"
	"io"
	"jsonguard/internal/watch"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const pageTool tool = "jsonguard-page"

// pageServer is a jsonguard-page that runs.
type pageServer struct {
	url    string
	newest chan []byte // the state that it is given next
	ended  chan struct{}
	cmd    *exec.Cmd
}

// serve starts the page and says where it is.
func (a *app) serve(f watchFlags) (*pageServer, error) {
	address, err := net.ResolveTCPAddr("tcp", f.serve)
	if err != nil {
		return nil, usage("an address is HOST:PORT, as 127.0.0.1:0", "watch: --serve: %v", err)
	}
	if !address.IP.IsLoopback() && !f.remote {
		return nil, usage("127.0.0.1:PORT keeps it on this machine; --allow-remote shows it to everybody who reaches the port", "watch: --serve %s is not only for this machine", f.serve)
	}
	network := "tcp"
	if address.IP.To4() != nil {
		network = "tcp4" // else 0.0.0.0 would be reached by IPv6 too
	}
	path, err := pageTool.find()
	if err != nil {
		return nil, err
	}
	p := &pageServer{newest: make(chan []byte, 1), ended: make(chan struct{}), cmd: exec.Command(path, network, address.String())}
	var said bytes.Buffer
	p.cmd.Stderr = &said
	states, err := p.cmd.StdinPipe()
	var output io.Reader
	if err == nil {
		output, err = p.cmd.StdoutPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, &problem{op: "run", path: path, err: bare(cause(err)), status: statusNoTool}
	}
	at, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		_ = states.Close()
		return nil, pageTool.problem("watch: listen on", f.serve, p.cmd.Wait(), said.String())
	}
	p.url = "http://" + reachedAt(strings.TrimSpace(at)) + "/"
	go p.feed(states, a.warn)
	if a.json {
		var o object
		o.add("serving", p.url)
		a.println(o.String())
	} else {
		a.warn("the page is at " + p.url)
	}
	return p, nil
}

// publish makes s the newest state. Those that the page did not take yet are left out.
func (p *pageServer) publish(s watch.State) {
	select {
	case <-p.newest:
	default:
	}
	p.newest <- append(s.WithHistory(), '\n')
}

// feed hands the states on. The watching goes on without a page that has ended.
func (p *pageServer) feed(states io.WriteCloser, warn func(string)) {
	defer close(p.ended)
	alive := true
	for text := range p.newest {
		if _, err := states.Write(text); err != nil && alive {
			alive = false
			warn("the page at " + p.url + " is gone: " + string(pageTool) + " has ended")
		}
	}
	_ = states.Close()
	_ = p.cmd.Wait()
}

// close ends the page with its last state, and waits for that.
func (p *pageServer) close() {
	close(p.newest)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
	}
}

// patience is how long the page may take to end.
const patience = 5 * time.Second

// reachedAt is what a browser asks for: the name of this machine, where it is at all of its addresses.
func reachedAt(at string) string {
	address, err := netip.ParseAddrPort(at)
	if err != nil || !address.Addr().IsUnspecified() {
		return at
	}
	host, err := os.Hostname()
	if err != nil {
		return at
	}
	return net.JoinHostPort(host, strconv.Itoa(int(address.Port())))
}
