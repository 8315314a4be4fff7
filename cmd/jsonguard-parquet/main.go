// Command jsonguard-parquet is what the verbs export and import of jsonguard run for Parquet. It is an executable of its own
// because the library for that weighs as much as all of jsonguard. It reads stdin, writes stdout and opens nothing.
package main

import (
	"os"

	"jsonguard/internal/parquet"
)

func main() { os.Exit(parquet.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
