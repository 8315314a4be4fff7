package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"

	"jsonguard/internal/jq"
	"jsonguard/merge"
)

func (a *app) updateCommand() *cobra.Command {
	cmd := a.verb(groupChange, "update FILE JQ", "Run a jq program on a file: one locked read-modify-write",
		`Run a jq program on the document and keep what it changed, while nobody else writes. The program must give exactly
one result: the new document. An empty or missing file is null, a JSON Lines file the list of its lines.
$ENV has the environment, which is how a shell passes values without quoting them into the program.
What the program left alone keeps its bytes (1.10 stays 1.10): the document as jq renders it before and after is compared,
and the difference is applied to the file. NaN counts as infinity inside the program.
A program that does not end is stopped after --timeout, and nothing is changed (75).`,
		`  jsonguard update results.json '.models.gpt.runs += 1 | .updated = now'
  NAME="$model" jsonguard update results.json '.models[$ENV.NAME].seen = true'
  jsonguard update queue.json 'del(.jobs[] | select(.done))'`,
		between(2, 2), a.update)
	return writes.mark(cmd)
}

func (a *app) update(cmd *cobra.Command, args []string) error {
	query, err := gojq.Parse(args[1])
	if err != nil {
		return usage("a jq program for the shell stands in single quotes: '.total += 1'", "jq: %v", err)
	}
	program, err := gojq.Compile(query, gojq.WithEnvironLoader(os.Environ))
	if err != nil {
		return usage("", "jq: %v", err)
	}
	g, err := a.guard(args[0])
	if err != nil {
		return err
	}
	defer g.Close()
	result, err := g.Update(cmd.Context(), func(d *merge.Document) error {
		return a.runJQ(cmd.Context(), program, d, g.Format(), deletionsStand(g.Policy()))
	})
	if err != nil {
		return a.named(cmd, args[0], err)
	}
	return a.done(g, result, nil)
}

// deletionsStand: the program saw the document as it is, so what it removes goes, also where jq renders the value
// differently (an unpaired surrogate) and the merge would take that for somebody else's edit.
// The rules of the policy come behind it: they are for names that the program spells in its own way.
func deletionsStand(pol *merge.Policy) *merge.Policy {
	out := &merge.Policy{Rules: []merge.Rule{{At: "/**", Merge: merge.Delete}}}
	if own := pol.Exclusive(); own != nil {
		out.Rules, out.Renames = append(out.Rules, own.Rules...), own.Renames
	}
	return out
}

func (a *app) runJQ(ctx context.Context, program *gojq.Code, d *merge.Document, format merge.Format, pol *merge.Policy) error {
	input, order, err := jq.Value(d.Bytes(), format)
	if err != nil {
		return err
	}
	before, err := render(input, order, format)
	if err != nil {
		return err
	}
	if a.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, a.timeout)
		defer stop()
	}
	output, err := runOnce(ctx, program, input)
	if errors.Is(err, context.DeadlineExceeded) {
		return &problem{err: fmt.Errorf("jq did not end within %s", a.timeout), hint: "nothing was changed; --timeout gives it longer", status: statusTemporary}
	}
	if err != nil {
		return err
	}
	after, err := render(output, order, format)
	if err != nil {
		return err
	}
	if d.Missing() && format == merge.JSON {
		if output == nil {
			return nil
		}
		return d.Do(merge.Op{Kind: "set", Value: after})
	}
	change, err := merge.Diff(before, after, format, pol)
	if err != nil {
		return err
	}
	_, err = d.Merge(change, pol)
	return err
}

// runOnce runs a program that must give one result.
func runOnce(ctx context.Context, program *gojq.Code, input any) (any, error) {
	results := program.RunWithContext(ctx, input)
	output, ok := results.Next()
	if !ok {
		return nil, jqData("it gave no result; a document is exactly one (did select drop it?)")
	}
	if err, failed := output.(error); failed {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var halt *gojq.HaltError
		if errors.As(err, &halt) && halt.Value() == nil {
			return nil, jqData("it halted without a result")
		}
		return nil, jqData(err.Error())
	}
	second, ok := results.Next()
	if err, failed := second.(error); ok && failed {
		return nil, jqData(err.Error())
	}
	if ok {
		return nil, jqData("it gave more than one result; [ … ] around the program makes a list of them")
	}
	return output, ctx.Err()
}

func jqData(text string) error {
	return &problem{err: errors.New("jq: " + text), hint: "nothing was changed", status: statusData}
}

// render writes a document as jq does; a JSON Lines document is the list of its lines.
func render(v any, order *jq.Shape, format merge.Format) ([]byte, error) {
	if format != merge.Lines {
		return jq.Append(nil, v, order)
	}
	lines, ok := v.([]any)
	if !ok {
		return nil, jqData("the document of a JSON Lines file is a list of its lines")
	}
	var out []byte
	for i, line := range lines {
		var err error
		if out, err = jq.Append(out, line, order.Element(i)); err != nil {
			return nil, err
		}
		out = append(out, '\n')
	}
	return out, nil
}
