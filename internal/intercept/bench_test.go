//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// opener compiles a C program that opens files in a loop and prints nanoseconds for each open and close.
func opener(t testing.TB) string {
	return compile(t, "opener", `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
	int flags = strcmp(argv[1], "write") ? O_RDONLY : O_WRONLY;
	int n = atoi(argv[3]);
	double best = 1e18;
	for (int round = 0; round < 9; round++) {
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < n; i++) {
			int fd = open(argv[2], flags);
			if (fd < 0) { perror("open"); return 1; }
			close(fd);
		}
		clock_gettime(CLOCK_MONOTONIC, &b);
		double ns = ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / n;
		if (ns < best) best = ns;
	}
	printf("%.0f\n", best);
	return 0;
}`)
}

// compile builds a C program, static if that is possible.
func compile(t testing.TB, name, source string, flags ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("SKIPPED: gcc is not installed")
	}
	dir := sharedTemp(t)
	src := filepath.Join(dir, name+".c")
	require.NoError(t, os.WriteFile(src, []byte(source), 0o666))
	bin := filepath.Join(dir, name)
	out, err := exec.Command(gcc, append([]string{"-O1", "-w", "-o", bin, src}, flags...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}
