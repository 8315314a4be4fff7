package jq

import (
	"context"
	"errors"
	"fmt"

	"github.com/itchyny/gojq"

	"jsonguard/merge"
)

// Program is a compiled jq program without access to anything but its input: no environment, no files, no modules.
type Program struct{ code *gojq.Code }

// Compile reads a program. The error says where it is wrong.
func Compile(source string) (*Program, error) {
	query, err := gojq.Parse(source)
	if err != nil {
		return nil, err
	}
	code, err := gojq.Compile(query, gojq.WithEnvironLoader(func() []string { return nil }))
	if err != nil {
		return nil, err
	}
	return &Program{code}, nil
}

// Run runs the program on a valid JSON text and returns its only result as JSON text. No result, several, one that JSON
// has no word for, an error of the program, and the end of ctx are errors.
func (p *Program) Run(ctx context.Context, src []byte) ([]byte, error) {
	input, order, err := Value(src, merge.JSON)
	if err != nil {
		return nil, err
	}
	results := p.code.RunWithContext(ctx, input)
	output, ok := results.Next()
	if !ok {
		return nil, errors.New("jq: no result")
	}
	if err, failed := output.(error); failed {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("jq: %w", err)
	}
	if _, more := results.Next(); more {
		return nil, errors.New("jq: more than one result")
	}
	return Append(nil, output, order)
}
