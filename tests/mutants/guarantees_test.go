package mutants

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unbroken are the tests of docs/GUARANTEES.md that no mutant is named for, each with the reason: the list is to become shorter.
var unbroken = map[string]string{
	"sidecar TestBoardCutShort":                              "a board that says one for ever has it wait for minutes",
	"tests/concurrency TestAFolderLeavesTurnsToThoseWhoPoll": "it counts turns: what is unfair by a little may pass",
	"tests/concurrency TestAFolderLeavesTurnsToUpdates":      "it counts turns: what is unfair by a little may pass",
	"tests/filesystems TestEveryFilesystem":                  "it runs the tests of tests/concurrency on six filesystems, which takes minutes for each mutant",
	"tests/flockless TestKilledHolder":                       "the lease that its mutant never lets go of has it wait for minutes",
	"tests/interception TestKilledWhileAHeldFileIsSubmitted": "a part that was not finished is in what the file itself holds, too: its mutant survived",
	"tests/interception TestQueueConsumer":                   "a consumer that gets a job twice, or none, waits for minutes",
	"tests/interception TestTinyDB":                          "not broken yet",
	"tests/interception TestWhateverStartsIt":                "not broken yet",
	"tests/rhythm TestRhythms":                               "a campaign, which finds by chance",
	"tests/security TestJournalsThatNameOtherFiles":          "two things hold it: the name is looked at, and a room cannot be left",
	"tests/security TestManyFiles":                           "it bounds a time in minutes",
	"tests/security TestRecordsThatNameOtherFiles":           "two things hold it: the name's file is compared, and the directory cannot be left",
	"tests/security TestSwappedUnderUse":                     "two things hold it: links are not followed, and a room cannot be left",
	"tests/security TestTemporaryFileThatIsNone":             "two things hold it: links are not followed, and the file is compared",
	"tests/syscalls TestErrors":                              "not broken yet",
}

var (
	holders = regexp.MustCompile("^- `([\\w/]+)`: (.*)$")
	quoted  = regexp.MustCompile("`(Test\\w+)(/[^`]*)?`")
	declare = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// A test that has never been seen to fail proves nothing: each that docs/GUARANTEES.md names has a mutant that names it, and no
// other one by the same words.
func TestEveryGuaranteeHasAMutant(t *testing.T) {
	if !*long {
		t.Skip("SKIPPED: what is added to GUARANTEES.md is asked for its mutant with -long")
	}
	root := moduleRoot(t)
	tests := map[string][]string{} // of a package
	testsOf := func(pkg string) []string {
		if tests[pkg] == nil {
			paths, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
			require.NoError(t, err)
			for _, path := range paths {
				src, err := os.ReadFile(path)
				require.NoError(t, err)
				for _, m := range declare.FindAllStringSubmatch(string(src), -1) {
					tests[pkg] = append(tests[pkg], m[1])
				}
			}
		}
		return tests[pkg]
	}
	broken := map[string]bool{}
	paths, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	for _, path := range paths {
		m := read(t, path)
		for _, name := range m.run() {
			var found []string
			for _, arg := range m.caughtBy {
				if pkg, ok := strings.CutPrefix(arg, "./"); ok {
					for _, test := range testsOf(pkg) {
						if regexp.MustCompile(name).MatchString(test) {
							found = append(found, pkg+" "+test)
						}
					}
				}
			}
			if len(found) == 1 {
				broken[found[0]] = true
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "GUARANTEES.md"))
	require.NoError(t, err)
	named, used := 0, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		holder := holders.FindStringSubmatch(strings.TrimSpace(line))
		if holder == nil {
			continue
		}
		for _, test := range quoted.FindAllStringSubmatch(holder[2], -1) {
			named++
			full := holder[1] + " " + test[1]
			used[full] = true
			if unbroken[full] == "" {
				assert.True(t, broken[full], "%s: a mutant must name it, by a word of its own", full)
			} else {
				assert.False(t, broken[full], "%s has a mutant: take it off the list", full)
			}
		}
	}
	require.NotZero(t, named)
	for name := range unbroken {
		assert.True(t, used[name], "%s is named no more", name)
	}
}
