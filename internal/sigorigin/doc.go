// Package sigorigin tells a signal that was typed at the terminal from one that a process sent. The kernel says it in
// si_code (sigaction(2)), which os/signal does not pass on; a wrapper needs it, because what is typed reaches the
// program that it wraps by itself, and what is sent does not.
//
// It puts a handler of a few instructions in front of the Go runtime's. It knows the last signal of a kind only: of two
// that arrive before the first was looked at, the second one's origin counts for both.
package sigorigin
