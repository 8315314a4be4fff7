//go:build linux

package interception

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// meanwhile is a function of Python that says that the program has come so far, and waits until it may go on.
const meanwhile = `import os,time
def meanwhile():
    open("ready","w").close()
    while not os.path.exists("go"): time.sleep(.01)
`

func (l *lab) await(name string) {
	require.Eventually(l, func() bool { _, err := os.Stat(l.path(name)); return err == nil }, 2*time.Minute, 5*time.Millisecond)
}

func (l *lab) appendTo(name, piece string) {
	f, err := os.OpenFile(l.path(name), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(l, err)
	_, err = f.WriteString(piece)
	require.NoError(l, err)
	require.NoError(l, f.Close())
}

// What a program writes that found the last line in part, because another was appending it, is made from the lines before.
func TestALineThatIsFoundInPart(t *testing.T) {
	needs(t, "python3")
	for name, script := range map[string]string{
		"written anew": `lines=[l for l in open("log.jsonl") if l.endswith("\n")]
meanwhile()
f=open("log.jsonl","w"); f.writelines(lines+['{"id":"w0"}\n','{"id":"w1"}\n']); f.close()`,
		"behind an own write": `lines=[l for l in open("log.jsonl") if l.endswith("\n")]
f=open("log.jsonl","w"); f.writelines(lines+['{"id":"w0"}\n']); f.close()
lines=[l for l in open("log.jsonl") if l.endswith("\n")]
meanwhile()
f=open("log.jsonl","w"); f.writelines(lines+['{"id":"w1"}\n']); f.close()`,
		"written over": `f=open("log.jsonl","r+")
lines=[l for l in f if l.endswith("\n")]
meanwhile()
f.seek(0); f.writelines(lines+['{"id":"w0"}\n','{"id":"w1"}\n']); f.truncate(); f.close()`,
		"written over, to write only": `lines=[l for l in open("log.jsonl") if l.endswith("\n")]
meanwhile()
fd=os.open("log.jsonl",os.O_WRONLY); os.write(fd,"".join(lines+['{"id":"w0"}\n','{"id":"w1"}\n']).encode()); os.close(fd)`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.write("log.jsonl", "{\"id\":\"old\"}\n{\"id\":\"other\",\"long\":\"so that it is longer than what is writ")
			writer := l.start(l.guarded([]string{"log.jsonl"}, "python3", "-c", meanwhile+script))
			l.await("ready")
			l.appendTo("log.jsonl", "ten\"}\n")
			l.write("go", "")
			l.wait(writer)
			require.ElementsMatch(t, []string{`{"id":"old"}`, `{"id":"other","long":"so that it is longer than what is written"}`, `{"id":"w0"}`, `{"id":"w1"}`},
				strings.Split(strings.TrimSpace(l.read("log.jsonl")), "\n"))
			l.clean("log.jsonl")
		})
	}
}

// The same where all of it is there but the newline: who left it out has not deleted it, and who took it has not added it.
func TestALineThatIsFoundWithoutItsNewline(t *testing.T) {
	needs(t, "python3")
	for name, lines := range map[string]string{
		"left out": `[l for l in open("log.jsonl") if l.endswith("\n")]`,
		"taken":    `[l.strip()+"\n" for l in open("log.jsonl")]`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.write("log.jsonl", "{\"id\":\"old\"}\n{\"id\":\"other\"}")
			writer := l.start(l.guarded([]string{"log.jsonl"}, "python3", "-c", meanwhile+`lines=`+lines+`
meanwhile()
f=open("log.jsonl","w"); f.writelines(lines+['{"id":"w0"}\n']); f.close()`))
			l.await("ready")
			l.appendTo("log.jsonl", "\n")
			l.write("go", "")
			l.wait(writer)
			require.ElementsMatch(t, []string{`{"id":"old"}`, `{"id":"other"}`, `{"id":"w0"}`}, strings.Fields(l.read("log.jsonl")))
			l.clean("log.jsonl")
		})
	}
	t.Run("taken away where it has none", func(t *testing.T) {
		l := newLab(t)
		l.write("log.jsonl", "{\"id\":\"old\"}\n{\"id\":\"other\"}")
		l.together(l.guarded([]string{"log.jsonl"}, "python3", "-c", `lines=open("log.jsonl").readlines()[:1]
f=open("log.jsonl","w"); f.writelines(lines); f.close()`))
		require.Equal(t, "{\"id\":\"old\"}\n", l.read("log.jsonl"))
	})
}

// A file that nobody named is JSON Lines also where another supervisor is in the middle of an append: it is not left alone, by which the
// program would write over the lines of others.
func TestAGuessedFileInTheMiddleOfAnAppend(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("log.jsonl", "{\"id\":\"old\"}\n")
	other := l.guarded(nil, "python3", "-c", `f=open("log.jsonl","r+"); open("there","w").close(); input()`)
	in, err := other.StdinPipe()
	require.NoError(t, err)
	stays := l.start(other)
	l.await("there")
	writer := l.start(l.guarded(nil, "python3", "-c", meanwhile+`lines=open("log.jsonl").readlines()
meanwhile()
f=open("log.jsonl","w"); f.writelines(lines+['{"id":"w0"}\n']); f.close()
open("done","w").close()`))
	l.await("ready")
	folds, err := os.OpenFile(l.path(".log.jsonl.guard/lock"), os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(folds.Fd()), unix.LOCK_EX))
	l.appendTo("log.jsonl", "{\"id\":\"oth")
	l.write("go", "")
	const wrong = 300 * time.Millisecond // it does not wait for the fold then
	for began := time.Now(); time.Since(began) < wrong; time.Sleep(5 * time.Millisecond) {
		require.NoFileExists(t, l.path("done"))
	}
	l.appendTo("log.jsonl", "er\"}\n")
	require.NoError(t, folds.Close())
	l.wait(writer)
	_, err = in.Write([]byte("\n"))
	require.NoError(t, err)
	l.wait(stays)
	require.ElementsMatch(t, []string{`{"id":"old"}`, `{"id":"other"}`, `{"id":"w0"}`}, strings.Fields(l.read("log.jsonl")))
	require.NoDirExists(t, l.path(".log.jsonl.guard"))
}
