//go:build !linux || !(amd64 || arm64)

package intercept

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"syscall"
)

func unsupported() error {
	return fmt.Errorf("%w: %s/%s", ErrUnsupported, runtime.GOOS, runtime.GOARCH)
}

type (
	supervisor   struct{}
	notification struct{}
)

func open(*Supervisor, Handler) error                  { return unsupported() }
func ask(context.Context, []byte) ([]byte, error)      { return nil, unsupported() }
func hasWriters(*os.File) (bool, error)                { return false, unsupported() }
func (*supervisor) run(Command) error                  { return unsupported() }
func (*supervisor) abandon()                           {}
func (*supervisor) found() Findings                    { return Findings{} }
func (*supervisor) pid() int                           { return 0 }
func (*supervisor) wait() (Status, error)              { return Status{}, unsupported() }
func (*supervisor) done() <-chan struct{}              { return nil }
func (*supervisor) kill() error                        { return unsupported() }
func (*supervisor) living() []*Process                 { return nil }
func (*supervisor) signal(syscall.Signal) error        { return unsupported() }
func (*supervisor) signalCommand(syscall.Signal) error { return unsupported() }
func (*supervisor) err() error                         { return unsupported() }
func (*supervisor) watch(*os.File, any) error          { return unsupported() }
func (*supervisor) unwatch(any)                        {}
func (*supervisor) drain()                             {}
func (*supervisor) otherNames()                        {}

func (*notification) context() context.Context          { return context.Background() }
func (*notification) credentials() (Credentials, error) { return Credentials{}, unsupported() }
func (*notification) as(func() error) error             { return unsupported() }
func (*notification) swap(int, *os.File) error          { return unsupported() }
func (*notification) alive() bool                       { return false }
