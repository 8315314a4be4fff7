// Package linearizability records what many processes did to one file, each call with the moments when it was made and
// when it returned, some of them killed in the middle, and asks two questions. For each key: is there an order of the
// calls, true to those moments, in which every answer is right (porcupine)? For the whole document: do the commit
// generations that the calls returned agree with time?
//
//	go test ./tests/linearizability -ops 100000 -kill
//	go test ./tests/linearizability -ops 1000000 -keys 5000
package linearizability
