//go:build !linux

package main

import (
	"context"

	"jsonguard/internal/intercept"
)

func (a *app) runIntercepted(context.Context, execOptions, *child) (*execReport, error) {
	return nil, &problem{op: "exec", err: intercept.ErrUnsupported}
}
