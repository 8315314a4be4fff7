package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"jsonguard/internal/table"
)

const parquetTool tool = "jsonguard-parquet"

// encodeParquet writes the rows that fill gives it to out as a Parquet file. name is for messages.
func encodeParquet(ctx context.Context, out io.Writer, name string, t *table.Table, fill func(*table.Writer) error) error {
	path, err := parquetTool.find()
	if err != nil {
		return err
	}
	output := &errWriter{w: out}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "encode")
	cmd.Stdout, cmd.Stderr = output, &said
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return &problem{op: "run", path: path, err: bare(cause(err)), status: statusNoTool}
	}
	w, err := table.NewWriter(input, t)
	if err == nil {
		err = fill(w)
	}
	if err == nil {
		err = w.Close()
	}
	err = errors.Join(err, input.Close()) // without its end the stream is not taken
	ended := cmd.Wait()
	switch awaitOwn(ctx, ended); {
	case ctx.Err() != nil:
		return &problem{op: "write", path: name, err: ctx.Err()}
	case output.err != nil:
		return &problem{op: "write", path: name, err: bare(output.err), hint: "nothing was changed", status: dataStatus(output.err, writes)}
	}
	var status *exec.ExitError
	if errors.As(ended, &status) && !brokenPipeOnly(err) {
		return err // of fill: the tool only says that the stream was cut
	}
	if ended != nil {
		return parquetTool.problem("write", name, ended, said.String())
	}
	return err
}

// awaitOwn waits for the end of ctx where a signal has ended the tool that a terminal sends to all of us: the tool may be gone before ours
// has arrived.
func awaitOwn(ctx context.Context, ended error) {
	var exit *exec.ExitError
	if !errors.As(ended, &exit) {
		return
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || !slices.Contains(interrupts, os.Signal(status.Signal())) {
		return
	}
	const patience = 5 * time.Second
	select {
	case <-ctx.Done():
	case <-time.After(patience): // it was the tool's alone
	}
}

// brokenPipeOnly says whether err is nothing but the end of the tool.
func brokenPipeOnly(err error) bool {
	return err == nil || isBrokenPipe(err) || errors.Is(err, os.ErrClosed)
}

// readParquet gives each the rows of a Parquet file, by the sub-command that args name.
func readParquet(ctx context.Context, name string, args []string, begin func(*table.Table) error, each func(row table.Row) error) error {
	path, err := parquetTool.find()
	if err != nil {
		return err
	}
	f, err := openParquet(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stderr = f, &said
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return &problem{op: "run", path: path, err: bare(cause(err)), status: statusNoTool}
	}
	own := func() error {
		r, err := table.NewReader(output)
		if err != nil {
			return err
		}
		if err := begin(r.Table); err != nil {
			return err
		}
		for {
			var row table.Row
			if _, err := r.Next(nil, &row); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := each(row); err != nil {
				return err
			}
		}
	}()
	if own != nil {
		_ = output.Close() // the tool sees that nobody reads any more
	}
	ended := cmd.Wait()
	switch awaitOwn(ctx, ended); {
	case ctx.Err() != nil:
		return &problem{op: "read", path: name, err: ctx.Err()}
	case own != nil && !errors.Is(own, table.ErrCut):
		return own
	case ended != nil:
		return parquetTool.problem("read", name, ended, said.String())
	}
	return own
}

// openParquet opens a file that begins and ends as such: what is none, or was cut, needs no library to be found out.
func openParquet(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, &problem{op: "read", path: name, err: bare(err), status: dataStatus(err, reads)}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &problem{op: "read", path: name, err: errors.New("not a file"), status: statusNoFile}
	}
	if err == nil {
		err = checkParquet(f, info.Size())
		if err != nil {
			err = &problem{op: "read", path: name, err: err, status: dataStatus(err, reads)}
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// notParquet says why a file is none.
type notParquet string

func (e notParquet) Error() string { return "not a Parquet file that can be read: " + string(e) }

// checkParquet looks at the four bytes on both ends (https://parquet.apache.org/docs/file-format).
func checkParquet(f io.ReaderAt, size int64) error {
	const magic, encrypted = "PAR1", "PARE"
	read := func(at int64) (string, error) {
		part := make([]byte, len(magic))
		_, err := f.ReadAt(part, at)
		return string(part), bare(err)
	}
	if size == 0 {
		return notParquet("it is empty")
	}
	if size < int64(2*len(magic)) {
		return notParquet(fmt.Sprintf("%d bytes are too few", size))
	}
	begin, err := read(0)
	if err != nil {
		return err
	}
	end, err := read(size - int64(len(magic)))
	if err != nil {
		return err
	}
	switch {
	case end == encrypted:
		return notParquet("it is encrypted")
	case begin != magic:
		return notParquet(fmt.Sprintf("it begins with %q", begin))
	case end != magic:
		return notParquet("it has no end: it was cut, or its writer was stopped")
	}
	return nil
}
