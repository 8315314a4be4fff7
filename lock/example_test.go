package lock_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"jsonguard/lock"
)

func ExampleAcquire() {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	results := filepath.Join(dir, "results.json") // it need not exist yet

	held, err := lock.Acquire(context.Background(), results)
	if err != nil {
		log.Fatal(err)
	}
	_, err = lock.Acquire(context.Background(), results, lock.Timeout(10*time.Millisecond))
	fmt.Println(errors.Is(err, lock.ErrTimeout)) // the error names who holds it

	if err := held.Release(); err != nil {
		log.Fatal(err)
	}
	again, ok, err := lock.Try(results)
	fmt.Println(ok, err)
	again.Release()
	// Output:
	// true
	// true <nil>
}

func ExampleAt() {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	results := filepath.Join(dir, "results.json")

	gpt, err := lock.Acquire(context.Background(), results, lock.At("/models/gpt"))
	if err != nil {
		log.Fatal(err)
	}
	defer gpt.Release()
	for _, at := range []string{"/models/llama", "/models/gpt/runs", "/models"} {
		l, ok, err := lock.Try(results, lock.At(at))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(at, ok)
		if ok {
			l.Release()
		}
	}
	// Output:
	// /models/llama true
	// /models/gpt/runs false
	// /models false
}
