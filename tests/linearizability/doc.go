// Package linearizability records what many processes did to one file, each call with the moments when it was made and
// when it returned, some of them killed in the middle, and asks two questions.
//
// For each key: is there an order of the calls, true to those moments, in which every answer is right (porcupine)? Calls
// without an answer may have happened or not.
//
//	go test ./tests/linearizability -run TestHistory -ops 100000
//
// For the whole document: is the order that the generations of the commits give true to those moments, and is every
// version that a reader got the one that this order makes? That takes linear time, so that it goes further.
//
//	go test ./tests/linearizability -run TestOrder -order 1000000
package linearizability
