package main

import (
	"regexp"
	"sync"

	"github.com/spf13/cobra"

	"jsonguard/merge"
)

func (a *app) incrCommand() *cobra.Command {
	cmd := a.verb(groupChange, "incr FILE POINTER [NUMBER]", "Add to a number, and print the sum",
		`Add NUMBER (1; it may be negative, decimal and of any size) to the number at POINTER, exactly, and print the new
value. A missing number counts as 0. Nobody else changes it between the reading and the writing. Status 75: nothing was
added, it may be tried again.`,
		`  jsonguard incr results.json /total
  jsonguard incr results.json /balance -12.50`,
		between(2, 3), a.incr)
	return writes.mark(cmd)
}

var numberText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-?\d+(\.\d+)?([eE][+-]?\d+)?$`) })

func (a *app) incr(cmd *cobra.Command, args []string) error {
	at, err := pointer(args[1])
	if err != nil {
		return err
	}
	number := "1"
	if len(args) == 3 {
		number = args[2]
	}
	if !numberText().MatchString(number) || checkValue([]byte(number)) != nil {
		return usage("a number is written as in JSON: 5, -1, 0.25, 1e3", "incr: %q is no number", number)
	}
	g, err := a.guard(args[0])
	if err != nil {
		return err
	}
	defer g.Close()
	var value []byte
	result, err := g.Update(cmd.Context(), func(d *merge.Document) error {
		if err := d.Do(merge.Op{Kind: "incr", At: args[1], Value: merge.Raw(number)}); err != nil {
			return err
		}
		value, err = d.Get(at)
		value = append([]byte(nil), value...)
		return err
	})
	if err != nil {
		return a.named(cmd, args[0], err)
	}
	if !a.json {
		a.println(string(value))
	}
	return a.done(g, result, func(o *object) {
		o.add("pointer", args[1])
		o.raw("value", value)
	})
}
