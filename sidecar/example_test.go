package sidecar_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// fileOf makes a file in a directory of its own, and opens it.
func fileOf(content string) (g *sidecar.Guard, end func()) {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, "results.json")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		log.Fatal(err)
	}
	if g, err = sidecar.Open(path, sidecar.Options{}); err != nil {
		log.Fatal(err)
	}
	return g, func() { g.Close(); os.RemoveAll(dir) }
}

func ExampleGuard_Apply() {
	g, end := fileOf(`{"total": 5, "rate": 1.10}`)
	defer end()
	ctx := context.Background()

	result, err := g.Apply(ctx,
		merge.Op{Kind: merge.OpIncr, At: "/total", Value: merge.Raw("1")},
		merge.Op{Kind: merge.OpSet, At: "/by", Value: merge.Raw(`"Zoë"`)})
	if err != nil {
		log.Fatal(err)
	}
	now, _ := g.Read(ctx)
	fmt.Println(result.Changed, string(now))

	// An operation that cannot be done changes nothing, and says why.
	_, err = g.Apply(ctx, merge.Op{Kind: merge.OpIncr, At: "/by", Value: merge.Raw("1")})
	fmt.Println(errors.Is(err, merge.ErrType))
	// Output:
	// true {"total": 6, "rate": 1.10, "by": "Zoë"}
	// true
}

func ExampleGuard_Journal() {
	g, end := fileOf(`{"total": 5}`)
	defer end()
	ctx := context.Background()

	for range 3 { // each is on disk when Journal returns, and waited for nobody
		if err := g.Journal(ctx, merge.Op{Kind: merge.OpIncr, At: "/total", Value: merge.Raw("1")}); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := g.Flush(ctx); err != nil { // not to wait for VisibleWithin
		log.Fatal(err)
	}
	now, _ := g.Read(ctx)
	fmt.Println(string(now))
	// Output: {"total": 8}
}

func ExampleGuard_Update() {
	g, end := fileOf(`{"left": 1}`)
	defer end()
	ctx := context.Background()

	errSoldOut := errors.New("sold out")
	take := func(d *merge.Document) error {
		left, err := d.Get(merge.Pointer{"left"})
		if err == nil && string(left) == "0" {
			err = errSoldOut
		}
		if err != nil {
			return err // nothing is changed
		}
		return d.Do(merge.Op{Kind: merge.OpIncr, At: "/left", Value: merge.Raw("-1")})
	}
	for range 2 {
		_, err := g.Update(ctx, take)
		fmt.Println(err == nil, errors.Is(err, errSoldOut))
	}
	// Output:
	// true false
	// false true
}

func ExampleGuard_Import() {
	g, end := fileOf(`{"a": 1, "b": 1}`)
	defer end()
	ctx := context.Background()

	base, _ := g.Read(ctx) // somebody begins to work on this version
	if _, err := g.Apply(ctx, merge.Op{Kind: merge.OpSet, At: "/b", Value: merge.Raw("2")}); err != nil {
		log.Fatal(err)
	}
	if _, err := g.Import(ctx, base, []byte(`{"a": 7, "b": 1}`)); err != nil { // and brings back another one
		log.Fatal(err)
	}
	now, _ := g.Read(ctx)
	fmt.Println(string(now))
	// Output: {"a": 7, "b": 2}
}
