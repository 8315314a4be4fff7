package jq

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	for _, c := range []struct{ program, input, want, err string }{
		{".a / .b", `{"a":1,"b":3}`, "0.3333333333333333", ""},
		{".a / .b", `{"a":6,"b":3}`, "2", ""},
		{".a / .b", `{"a":1,"b":0}`, "", "divi"},
		{".a / .b", `{"b":1}`, "", "null"},
		{".a", `{"a":NaN,"b":1}`, "NaN", ""},
		{".a[0]", `{"a":[1.10]}`, "1.10", ""},
		{".", `{"z":1,"a":{"y":2,"b":3}}`, `{"z":1,"a":{"y":2,"b":3}}`, ""},
		{"empty", `{}`, "", "no result"},
		{"1, 2", `{}`, "", "more than one"},
		{"$ENV.PATH", `{}`, "null", ""},
		{"env | length", `{}`, "0", ""},
		{"input", `{}`, "", "input"},
		{"halt_error", `{}`, "", "halt"},
	} {
		p, err := Compile(c.program)
		if err == nil {
			var got []byte
			got, err = p.Run(t.Context(), []byte(c.input))
			if c.err == "" {
				require.NoError(t, err, c.program)
				require.Equal(t, c.want, string(got), c.program)
			}
		}
		if c.err != "" {
			require.ErrorContains(t, err, c.err, c.program)
		}
	}
	_, err := Compile(`.a |`)
	require.Error(t, err)
	_, err = Compile(`include "x"; .a`)
	require.Error(t, err)
}

func TestRunEndsWithItsContext(t *testing.T) {
	p, err := Compile("def f: f; f")
	require.NoError(t, err)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	_, err = p.Run(ctx, []byte("{}"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	p, err = Compile("reduce range(1e12) as $i (0; . + $i)")
	require.NoError(t, err)
	_, err = p.Run(ctx, []byte("{}"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
