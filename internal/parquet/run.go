package parquet

import (
	"errors"
	"fmt"
	"io"
	"os"

	"jsonguard/internal/table"
)

// Exit statuses, as jsonguard has them.
const (
	statusUsage = 64
	statusData  = 65
	statusIO    = 74
)

// Run is the executable jsonguard-parquet without the process: its streams in, its exit status out. What went wrong is one
// line on stderr.
//
//	encode            a stream of package table on stdin, the Parquet file on stdout
//	decode [PATTERN]  the Parquet file on stdin, which must be a file, the stream on stdout
//	keys              the same, of what an increment holds
func Run(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	err := errUsage
	switch {
	case len(args) == 1 && args[0] == "encode":
		_, err = Encode(stdout, stdin)
	case len(args) == 1 && args[0] == "keys":
		err = fromFile(stdin, func(size int64) error { return Keys(stdout, stdin, size) })
	case len(args) == 1 && args[0] == "decode":
		err = fromFile(stdin, func(size int64) error { return Decode(stdout, stdin, size, "") })
	case len(args) == 2 && args[0] == "decode":
		err = fromFile(stdin, func(size int64) error { return Decode(stdout, stdin, size, args[1]) })
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, err)
	switch {
	case errors.Is(err, errUsage):
		return statusUsage
	case errors.Is(err, ErrNotParquet), errors.Is(err, errOther), errors.Is(err, table.ErrCut), errors.Is(err, table.ErrFormat):
		return statusData
	}
	return statusIO
}

var errUsage = errors.New("jsonguard-parquet is a part of jsonguard: use jsonguard export and jsonguard import")

func fromFile(f *os.File, read func(size int64) error) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: a pipe or device has no end to begin at", ErrNotParquet)
	}
	return read(info.Size())
}
