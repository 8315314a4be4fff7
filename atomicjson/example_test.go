package atomicjson_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"jsonguard/atomicjson"
	"jsonguard/merge"
)

// inTemp is a file in a directory of its own, for the examples.
func inTemp(name, content string) (path string, remove func()) {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		panic(err)
	}
	path = filepath.Join(dir, name)
	if content != "" {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			panic(err)
		}
	}
	return path, func() { os.RemoveAll(dir) }
}

func show(path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	fmt.Print(string(content))
}

func ExampleUpdate() {
	path, remove := inTemp("results.json", `{
    "rate": 1.10,
    "models": {"gpt": {"total": 3}}
}
`)
	defer remove()
	err := atomicjson.Update(context.Background(), path, func(d *atomicjson.Document) error {
		if err := d.Add("/models/gpt/total", 1); err != nil {
			return err
		}
		return d.Append("/log", "one more")
	})
	if err != nil {
		fmt.Println(err)
	}
	show(path)
	// Output:
	// {
	//     "rate": 1.10,
	//     "models": {"gpt": {"total": 4}},
	//     "log": ["one more"]
	// }
}

// Read, check, write: nobody writes between the check and the change.
func ExampleUpdate_check() {
	path, remove := inTemp("jobs.json", `{"queue": ["a", "b"]}`)
	defer remove()
	errEmpty := errors.New("nothing to do")
	take := func() (job string, err error) {
		err = atomicjson.Update(context.Background(), path, func(d *atomicjson.Document) error {
			if err := d.Get("/queue/0", &job); errors.Is(err, merge.ErrNotFound) {
				return errEmpty
			} else if err != nil {
				return err
			}
			return d.Delete("/queue/0")
		})
		return job, err
	}
	for {
		job, err := take()
		if errors.Is(err, errEmpty) {
			break
		}
		fmt.Println(job, err)
	}
	// Output:
	// a <nil>
	// b <nil>
}

func ExampleUpdateAs() {
	path, remove := inTemp("config.json", `{"name": "x", "port": 80, "comment": "UpdateAs never heard of me"}`)
	defer remove()
	type config struct {
		Port int `json:"port"`
	}
	err := atomicjson.UpdateAs(context.Background(), path, func(c *config) error {
		c.Port = 8080
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	show(path)
	// Output: {"name": "x", "port": 8080, "comment": "UpdateAs never heard of me"}
}

func ExampleRead() {
	path, remove := inTemp("results.json", `{"models": {"gpt": {"rate": 1.10}}}`)
	defer remove()
	d, err := atomicjson.Read(context.Background(), path)
	if err != nil {
		fmt.Println(err)
		return
	}
	raw, _ := d.Raw("/models/gpt/rate")
	var rate float64
	_ = d.Get("/models/gpt/rate", &rate)
	fmt.Println(string(raw), rate)
	// Output: 1.10 1.1
}

func ExampleReadAs() {
	path, remove := inTemp("log.jsonl", "{\"id\": 1}\n{\"id\": 2}\n")
	defer remove()
	lines, err := atomicjson.ReadAs[[]struct{ ID int }](context.Background(), path)
	fmt.Println(lines, err)
	_, err = atomicjson.ReadAs[any](context.Background(), path+".missing")
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// [{1} {2}] <nil>
	// true
}

func ExampleWriteFile() {
	path, remove := inTemp("state.json", "")
	defer remove()
	if err := atomicjson.WriteFile(context.Background(), path, []byte("{\"n\": 1}\n")); err != nil {
		fmt.Println(err)
	}
	show(path)
	err := atomicjson.WriteFile(context.Background(), path, []byte(`{"n": `))
	var syntax *merge.SyntaxError
	fmt.Println(errors.As(err, &syntax), syntax.Line, syntax.Column)
	show(path)
	// Output:
	// {"n": 1}
	// true 1 7
	// {"n": 1}
}

func ExampleDocument() {
	d, err := atomicjson.Parse([]byte(`{"b": 1e2, "a": [1, 2]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = d.Set("/a/0", "<one>")
	_ = d.Set("/a/-", 3)
	_ = d.Set("/c/d", true)
	_ = d.Add("/n", 12345678901234567)
	_ = d.Delete("/b")
	fmt.Println(string(d.Bytes()))
	// Output: {"a": ["<one>", 2, 3], "c": {"d": true}, "n": 12345678901234567}
}
