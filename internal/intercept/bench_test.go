//go:build linux && (amd64 || arm64)

package intercept

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// compile builds a C program.
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

// opener opens and closes a file in a loop and prints nanoseconds for one, of the best of many short rounds: the median
// of a machine that others use as well says more about them.
//
// As "floor" it is supervised by the least that a supervisor can be, in C: it receives, and answers "continue".
const opener = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void floor_of_all(void) {
	struct sock_filter f[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
		{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, __NR_openat},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
	struct sock_fprog p = {4, f};
	int to[2];
	pipe(to);
	pid_t parent = getpid();
	pid_t child = fork();
	if (child == 0) { // the supervisor
		int l;
		read(to[0], &l, sizeof l);
		l = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, parent, 0), l, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		unsigned long sync = 1;
		ioctl(l, _IOW('!', 4, unsigned long), sync);
		for (;;) {
			struct seccomp_notif n;
			memset(&n, 0, sizeof n);
			if (ioctl(l, SECCOMP_IOCTL_NOTIF_RECV, &n)) continue;
			struct seccomp_notif_resp r = {.id = n.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
			ioctl(l, SECCOMP_IOCTL_NOTIF_SEND, &r);
		}
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int l = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &p);
	write(to[1], &l, sizeof l);
}

int main(int argc, char **argv) {
	int flags = strcmp(argv[1], "write") ? O_RDONLY : O_WRONLY;
	int rounds = atoi(argv[3]), n = 200;
	if (argc > 4) floor_of_all();
	double best = 1e18;
	for (int round = 0; round < rounds; round++) {
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < n; i++) {
			int fd = openat(AT_FDCWD, argv[2], flags);
			if (fd < 0) { perror("open"); return 1; }
			close(fd);
		}
		clock_gettime(CLOCK_MONOTONIC, &b);
		double ns = ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / n;
		if (ns < best) best = ns;
	}
	printf("%.0f\n", best);
	return 0;
}`

// BenchmarkOpen says what an open of no interest costs over a bare one, and how much of that the least supervisor
// that there can be costs here.
func BenchmarkOpen(b *testing.B) {
	bin := compile(b, "opener", opener)
	file := filepath.Join(sharedTemp(b), "other.txt")
	require.NoError(b, os.WriteFile(file, nil, 0o666))
	number := func(out string, err error) float64 {
		require.NoError(b, err, out)
		f, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
		require.NoError(b, err)
		return f / 1000
	}
	const rounds = "300"
	for _, kind := range []string{"read", "write"} {
		b.Run(kind, func(b *testing.B) {
			var bare, floor, ours []float64
			for b.Loop() {
				out, err := exec.Command(bin, kind, file, rounds).Output()
				bare = append(bare, number(string(out), err))
				out, err = exec.Command(bin, kind, file, rounds, "floor").Output()
				floor = append(floor, number(string(out), err))
				ours = append(ours, number(run(b, newScratchHandler(b), bin, kind, file, rounds), nil))
			}
			b.ReportMetric(slices.Min(bare), "µs/bare")
			b.ReportMetric(slices.Min(floor)-slices.Min(bare), "µs-over/floor")
			b.ReportMetric(slices.Min(ours)-slices.Min(bare), "µs-over/ours")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkStart says what it takes to start a program, over a bare one.
func BenchmarkStart(b *testing.B) {
	needs(b, "true")
	path, err := exec.LookPath("true")
	require.NoError(b, err)
	var bare, ours []time.Duration
	for b.Loop() {
		begin := time.Now()
		require.NoError(b, exec.Command(path).Run())
		bare = append(bare, time.Since(begin))
		begin = time.Now()
		s, err := Start(Command{Path: path, Args: []string{"true"}}, newScratchHandlerIn(b, os.TempDir()))
		if err != nil {
			b.Skipf("SKIPPED: %v", err)
		}
		_, err = s.Wait()
		require.NoError(b, err)
		ours = append(ours, time.Since(begin))
		<-s.Done()
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(ms(median(bare)), "ms/bare")
	b.ReportMetric(ms(median(ours)-median(bare)), "ms-over/median")
	b.ReportMetric(ms(slices.Min(ours)-slices.Min(bare)), "ms-over/best")
	b.ReportMetric(0, "ns/op")
}

func median[T int64 | float64 | time.Duration](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// BenchmarkGoBuild says how much longer a build takes, with its thousands of opens by many processes.
func BenchmarkGoBuild(b *testing.B) {
	needs(b, "go")
	dir := sharedTemp(b)
	require.NoError(b, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module hello\n"), 0o666))
	require.NoError(b, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nimport \"fmt\"\nfunc main() { fmt.Println(1) }\n"), 0o666))
	script := fmt.Sprintf("cd %s && echo '// '$(date +%%N) >> main.go && go build -o hello .", dir)
	var bare, ours []float64
	require.NoError(b, exec.Command("sh", "-c", script).Run())
	for b.Loop() {
		begin := time.Now()
		require.NoError(b, exec.Command("sh", "-c", script).Run())
		bare = append(bare, time.Since(begin).Seconds())
		begin = time.Now()
		run(b, newScratchHandler(b), "sh", "-c", script)
		ours = append(ours, time.Since(begin).Seconds())
	}
	b.ReportMetric(slices.Min(bare), "s/bare")
	b.ReportMetric(slices.Min(ours)/slices.Min(bare), "ratio/best")
	b.ReportMetric(median(ours)/median(bare), "ratio/median")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGuardedOpen says what the mechanism adds to an open that a handler answers with a file.
func BenchmarkGuardedOpen(b *testing.B) {
	bin := compile(b, "opener", opener)
	h := newScratchHandler(b)
	require.NoError(b, os.WriteFile(h.target(), nil, 0o666))
	h.open = func(*Call, *Place, OpenHow) (*os.File, error) { return os.Open(h.target()) }
	var best []float64
	for b.Loop() {
		out := run(b, h, bin, "read", h.target(), "20")
		f, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
		require.NoError(b, err)
		best = append(best, f/1000)
	}
	b.ReportMetric(slices.Min(best), "µs/open")
	b.ReportMetric(0, "ns/op")
}
