//go:build linux && (amd64 || arm64)

package intercept

func probe() (Findings, error) { return Findings{}, nil }
