// Command jsonguard-page is what jsonguard watch --serve runs: the web page. It is an executable of its own because every verb
// would pay for net/http when it starts. It opens no file.
package main

import (
	"os"
	"os/signal"

	"jsonguard/internal/watch/page"
)

func main() {
	signal.Ignore(os.Interrupt) // of the terminal: jsonguard watch has a last state to show, and then closes stdin
	os.Exit(page.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
