//go:build linux

package interception

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Values that come back: what such a program writes looks like what it knew before, with something of its own. Who is alone has nobody's changes
// to lose, and what it writes is what there is.
var alone = map[string]struct{ needs, script string }{
	"jq, mv": {"jq", `i=0; while [ $i -lt 30 ]; do i=$((i+1))
jq -c ".x = ($i % 2) | .y = (($i/2|floor) % 2) | .n = $i | .l = [$i % 3, 2.5]" r.json > t && mv t r.json
got=$(cat r.json); want="{\"x\":$((i%2)),\"y\":$(((i/2)%2)),\"n\":$i,\"l\":[$((i%3)),2.5]}"
[ "$got" = "$want" ] || { echo "$got, not $want"; exit 1; }; done`},
	"removed and made anew": {"python3", `python3 -c '
import os, random
r = random.Random(1)
for i in range(60):
    if r.random() < .3: os.unlink("r.json")
    text = "{\"n\": %d, \"l\": [%d, 2.50]}\n" % (i, r.randrange(3))
    open("r.json", "w").write(text)
    got = open("r.json").read()
    assert got == text, (got, text)'`},
	"a pool of threads reads": {"node", `node -e '
const fs = require("fs"); let seed = 1
const draw = n => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return (seed >> 8) % n }
;(async () => { for (let i = 0; i < 60; i++) {
  const text = JSON.stringify({x: draw(2), y: draw(2), n: draw(4), l: Array.from({length: draw(4)}, () => draw(3))})
  fs.writeFileSync("r.json", text)
  const got = await fs.promises.readFile("r.json", "utf8")
  if (got !== text) { console.log(got, "not", text); process.exit(1) }
} })()'`},
	"a child for each": {"python3", `python3 -c '
import json, random, subprocess
r = random.Random(1)
for i in range(30):
    text = json.dumps({"x": r.randrange(2), "y": r.randrange(2), "n": r.randrange(4), "l": [r.randrange(3) for _ in range(r.randrange(4))]})
    subprocess.run(["sh", "-c", "echo \"$1\" > r.json", "sh", text], check=True)
    got = open("r.json").read().strip()
    assert got == text, (got, text)'`},
}

func TestAloneNothingIsTakenBack(t *testing.T) {
	for name, a := range alone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, a.needs)
			l := newLab(t)
			l.write("r.json", `{"x":0,"y":0,"n":0,"l":[0,2.5]}`)
			l.together(l.guarded(results, "sh", "-ec", a.script))
			require.NoFileExists(t, l.path(".r.json.guard/conflicts.jsonl"))
		})
	}
}
