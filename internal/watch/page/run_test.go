package page

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// It says where it is, shows what it is given, and ends when nothing comes any more, whoever reads it then.
func TestThePageEndsWithItsStates(t *testing.T) {
	states, feed := io.Pipe()
	said, output := io.Pipe()
	status := make(chan int, 1)
	var stderr strings.Builder
	go func() { status <- Run([]string{"tcp4", "127.0.0.1:0"}, states, output, &stderr) }()
	at, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	url := "http://" + strings.TrimSpace(at)
	res, err := http.Get(url + "/events")
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = io.WriteString(feed, `{"file": "a.json"}`+"\n"+`{"file": "b`)
	require.NoError(t, err)
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && lines.Text() != `data: {"file": "a.json"}` {
	}
	require.NoError(t, lines.Err())
	require.NoError(t, feed.Close())
	require.Equal(t, 0, <-status)
	for lines.Scan() {
		require.NotContains(t, lines.Text(), "b", "what was cut is not shown")
	}
	_, err = http.Get(url)
	require.Error(t, err)
	require.Empty(t, stderr.String())
}

func TestThePageSaysWhyNot(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	var stdout, stderr strings.Builder
	require.Equal(t, statusIO, Run([]string{"tcp4", taken.Addr().String()}, strings.NewReader(""), &stdout, &stderr))
	require.Empty(t, stdout.String())
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"))
	require.NotContains(t, stderr.String(), taken.Addr().String(), "who is asked for it says that")
	require.Equal(t, statusUsage, Run(nil, strings.NewReader(""), &stdout, &stderr))
}
