//go:build !linux

package main

import (
	"context"

	"jsonguard/internal/intercept"
)

func (a *app) runIntercepted(context.Context, execOptions, *child) (*execReport, error) {
	_, err := intercept.New(nil)
	return nil, &cannotIntercept{err}
}

func gainsPrivileges(string) bool { return false }
