package main

import (
	"errors"
	"net"
	"os"
	"strconv"

	"jsonguard/internal/watch/page"
)

// serve starts the page and says where it is.
func (a *app) serve(server *page.Server, f watchFlags) (url string, shut func(), err error) {
	address, err := net.ResolveTCPAddr("tcp", f.serve)
	if err != nil {
		return "", nil, usage("an address is HOST:PORT, as 127.0.0.1:0", "watch: --serve: %v", err)
	}
	if !address.IP.IsLoopback() && !f.remote {
		return "", nil, usage("127.0.0.1:PORT keeps it on this machine; --allow-remote shows it to everybody who reaches the port", "watch: --serve %s is not only for this machine", f.serve)
	}
	network := "tcp"
	if address.IP.To4() != nil {
		network = "tcp4" // else 0.0.0.0 would be reached by IPv6 too
	}
	listener, err := net.ListenTCP(network, address)
	if err != nil {
		return "", nil, &problem{op: "watch: listen on", path: f.serve, err: listenError(err), status: statusIO}
	}
	url = "http://" + reachedAt(listener.Addr()) + "/"
	go func() { _ = server.Serve(listener) }() // until it is closed
	if a.json {
		var o object
		o.add("serving", url)
		a.println(o.String())
	} else {
		a.warn("the page is at " + url)
	}
	return url, server.Close, nil
}

// reachedAt is what a browser asks for: the name of this machine, where it is at all of its addresses.
func reachedAt(at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return at.String()
	}
	host, err := os.Hostname()
	if err != nil {
		return at.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// listenError takes operation and address off.
func listenError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		var call *os.SyscallError
		if errors.As(op.Err, &call) {
			return call.Err
		}
		return op.Err
	}
	return err
}
