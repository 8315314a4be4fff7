package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressBar(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, what: "export", began: time.Now()}
	p.at(0.1)
	require.Empty(t, out.String(), "what is over in a second needs no bar")
	p.began = time.Now().Add(-time.Minute)
	p.at(0.5)
	require.Equal(t, "\rexport ["+strings.Repeat("#", 15)+strings.Repeat(".", 15)+"]  50 %, 1m0s left", out.String())
	p.at(0.6)
	require.Equal(t, 1, strings.Count(out.String(), "\r"), "not on each call")
	p.drawn = time.Time{}.Add(time.Second)
	p.at(7)
	require.True(t, strings.HasSuffix(out.String(), "] 100 %, 0s left  "), "%q: what was longer is written over", out.String())
	p.part(0.2, 0.4)
	p.drawn = time.Time{}.Add(time.Second)
	p.at(0.5)
	require.Contains(t, out.String(), "]  30 %")
	p.done()
	require.True(t, strings.HasSuffix(out.String(), " \r"), "%q: the line is free again", out.String())
	length := out.Len()
	p.at(1)
	p.done()
	require.Equal(t, length, out.Len())
}

// A bar is for a person who waits at a terminal.
func TestProgressBarIsForTerminals(t *testing.T) {
	var errs bytes.Buffer
	a := newApp(strings.NewReader(""), &bytes.Buffer{}, &errs)
	p := a.progressBar("export")
	p.began = time.Now().Add(-time.Minute)
	p.at(0.5)
	p.done()
	require.Empty(t, errs.String())
}
