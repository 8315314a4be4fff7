//go:build linux

package interception

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What people do all day in directories full of JSON, with nobody naming a file: it ends with exactly the tree that it leaves
// without us. before is run bare in both.
var gentle = []struct {
	name, needs string
	peer        string // in node_modules of JSONGUARD_PEERS
	before, run string
}{
	{name: "npm install", needs: "npm", before: `mkdir -p app dep/lib dep/data && cd dep
echo '{"name":"dep","version":"1.0.0","main":"lib/a.js","files":["lib","data"]}' > package.json; echo 'module.exports=1' > lib/a.js
i=0; while [ $i -lt 40 ]; do echo "{\"i\": $i, }" > data/bad$i.json; echo "{\"i\": $i}" > data/$i.json; i=$((i+1)); done
cd ../app; echo '{"name":"app","version":"1.0.0","dependencies":{}}' > package.json`,
		run: `cd app; export npm_config_cache=$PWD/../cache npm_config_update_notifier=false
npm install --offline --no-audit --no-fund --install-links ../dep && npm pkg set scripts.test=true && npm version 1.0.1 --no-git-tag-version && rm -rf ../cache`},
	{name: "npm install of a tarball", needs: "npm", before: `mkdir -p app dep/lib && cd dep; export npm_config_cache=$PWD/../cache npm_config_update_notifier=false
echo '{"name":"dep","version":"1.0.0","main":"lib/a.js","bin":{"dep":"lib/a.js"}}' > package.json; echo 'module.exports=1' > lib/a.js; printf '{\n // c\n}\n' > lib/tsconfig.json; echo '[1, 2]' > lib/data.json
npm pack --silent >/dev/null; cd ../app; echo '{"name":"app","version":"1.0.0"}' > package.json; rm -rf ../cache`,
		run: `cd app; export npm_config_cache=$PWD/../cache npm_config_update_notifier=false
npm install --offline --no-audit --no-fund ../dep/dep-1.0.0.tgz && rm -rf node_modules && npm ci --offline --no-audit --no-fund; rm -rf ../cache`},
	{name: "npm install, linked", needs: "npm", before: `mkdir -p app dep; echo '{"name":"dep","version":"1.0.0"}' > dep/package.json; echo '{"name":"app","version":"1.0.0","dependencies":{"dep":"file:../dep"}}' > app/package.json`,
		run: `cd app; export npm_config_cache=$PWD/../cache npm_config_update_notifier=false; npm install --offline --no-audit --no-fund && npm uninstall dep --offline --no-audit --no-fund && rm -rf ../cache`},
	{name: "tsc --init", peer: "typescript", run: `node peers/node_modules/typescript/bin/tsc --init && echo 'const n: number = 1; console.log(n)' > a.ts && node peers/node_modules/typescript/bin/tsc --outDir out --incremental --tsBuildInfoFile info.json`},
	{name: "prettier --write", peer: "prettier", before: "printf '{ // strict\\n\"compilerOptions\":{\"strict\":true, /* all */ \"target\":\"es2022\",},}\\n' > tsconfig.json; printf '{\"b\":1,\\n\"a\":[1,2,\\n3]}' > data.json; chmod 600 data.json; mkdir sub; echo '{}' > sub/.prettierrc.json; echo '[ ]' > sub/e.json",
		run: `node peers/node_modules/prettier/bin/prettier.cjs --write tsconfig.json data.json sub`},
	{name: "git checkout", needs: "git", before: `git init -q -b main . && git config user.email a@b && git config user.name a
echo '{"v":1}' > a.json; printf '{\n // c\n}\n' > tsconfig.json; mkdir d; echo '{"d":1}' > d/only-main.json; git add -A; git commit -qm 1
git checkout -q -b other; echo '{"v":2}' > a.json; git rm -q tsconfig.json d/only-main.json; mkdir e; echo '[1]' > e/only-other.json; echo '{' > broken.json; git add -A; git commit -qm 2; git checkout -q main`,
		run: `for b in other main other main; do git checkout -q $b && [ -z "$(git status --porcelain)" ] || exit 1; done
echo '{"v":3}' > a.json; git commit -qam 3; git checkout -q other; git merge -q main 2>&1 | grep -q CONFLICT; git checkout -q --theirs a.json; git add a.json; git commit -qm 4; git stash -q; git rebase -q main 2>/dev/null || git rebase --abort; rm -rf .git`},
	{name: "pytest", needs: "pytest-3", before: `mkdir fixtures; i=0; while [ $i -lt 8 ]; do echo "{\"i\": $i}" > fixtures/$i.json; i=$((i+1)); done; echo '{"n": 0, "x": [1.10]}' > state.json
cat > test_it.py <<'PY'
import json, pathlib, pytest, shutil
@pytest.fixture
def state():
    before = pathlib.Path("state.json").read_text()
    yield json.loads(before)
    pathlib.Path("state.json").write_text(before)
@pytest.mark.parametrize("i", range(8))
def test_fixture(i, state, tmp_path):
    assert json.loads(pathlib.Path(f"fixtures/{i}.json").read_text()) == {"i": i}
    state["n"] += 1
    pathlib.Path("state.json").write_text(json.dumps(state))
    assert json.loads(pathlib.Path("state.json").read_text())["n"] == 1
    pathlib.Path("broken.json").write_text("{")
    with pytest.raises(ValueError): json.loads(pathlib.Path("broken.json").read_text())
    pathlib.Path("broken.json").unlink()
    assert not pathlib.Path("broken.json").exists()
    work = pathlib.Path("work"); work.mkdir(); (work / "a.json").write_text("{}"); shutil.rmtree(work)
PY`, run: `PYTHONDONTWRITEBYTECODE=1 pytest-3 -q -p no:cacheprovider --junitxml=/dev/null`},
	{name: "jq over many", needs: "jq", before: `i=0; while [ $i -lt 10 ]; do echo "{\"b\":1,\"a\":$i}" > $i.json; i=$((i+1)); done`,
		run: `for f in *.json; do jq -S . $f > $f.tmp && mv $f.tmp $f || exit 1; done; sed -i 's/1/2/' *.json; mv 3.json three.json; cp -p 4.json 5.json; ln -s 5.json link.json; echo '{"z":1}' > link.json; rm 7.json`},
	{name: "JSON and no JSON by turns", run: `for f in a.json c.jsonl; do
echo '{ // x' > $f; echo '{}' > $f; cat $f; echo '{ // y' > $f; cat $f; echo '{ // z' >> $f; cat $f
echo '{"a": 1}' > $f; echo '{"b": 1}' > $f; echo '{ //' > $f; echo '{"c": 1}' > $f; cat $f
echo '{} 1' > $f.tmp; mv $f.tmp $f; echo '[2]' > $f; cat $f; : > $f; echo '{ /' > $f; cat $f; echo '[]' >> $f; cat $f
echo '{"d": 1}' > $f; truncate -s 3 $f; cat $f; echo '{"e": 1}' > $f; cat $f; done > seen`},
	{name: "modes", needs: "perl", before: `umask 022; for i in 1 2 3 4 5 6; do echo "{\"a\":$i}" > $i.json; done; chmod 600 1.json; echo '{}' > lines.jsonl`,
		run: `cp -p 1.json 2.json; cp 1.json 3.json; install -m 640 1.json 4.json; cp --preserve=mode 3.json 1.json
perl -e 'open F, ">", "5.json"; chmod 0600, *F or die; print F "[5]"; close F; open F, "+<", "6.json"; chmod 0604, *F or die; close F; open F, ">>", "lines.jsonl"; chmod 0660, *F or die; print F "{}\n"'
(umask 077; echo '{"new": 1}' > new.tmp; echo '{"old": 1}' > 3.tmp); mv new.tmp new.json; mv 3.tmp 3.json; cp -p 5.json made.json`},
	{name: "a hard link that is made", run: `echo '{}' > a.json; echo '{"a": 1}' > a.json; ln a.json b; echo '{}' > c.jsonl; echo '{}' >> c.jsonl; ln c.jsonl d.jsonl; cat c.jsonl d.jsonl a.json > seen`},
	{name: "lines that are no JSON", before: `echo '{}' > c.jsonl`, run: `i=0; while [ $i -lt 5 ]; do echo '{}' >> c.jsonl; echo 'Traceback:' >> c.jsonl; printf '{"a":' >> c.jsonl; cat c.jsonl; printf '1' >> c.jsonl; echo '}' >> c.jsonl; cat c.jsonl
i=$((i+1)); done > seen; echo '{"z": 1}' > c.jsonl; echo '{"y": 1}' >> c.jsonl; echo no >> c.jsonl`},
}

func TestGentle(t *testing.T) {
	for _, g := range gentle {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			if g.needs != "" {
				needs(t, g.needs)
			}
			bare, l := newLab(t), newLab(t)
			for _, lab := range []*lab{bare, l} {
				if g.peer != "" {
					require.NoError(t, os.Mkdir(lab.path("peers"), 0o755))
					lab.dir = lab.path("peers")
					lab.peers(t, g.peer)
					lab.dir = filepath.Dir(lab.dir)
				}
				before := exec.Command("sh", "-ec", g.before)
				before.Dir = lab.dir
				out, err := before.CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			plain := exec.Command("sh", "-ec", g.run)
			plain.Dir = bare.dir
			out, err := plain.CombinedOutput()
			require.NoError(t, err, "bare: %s", out)
			l.together(l.guarded(nil, "sh", "-ec", g.run))
			// A path may stand in a file.
			want, got := tree(t, bare.dir), tree(t, l.dir)
			for name, content := range want {
				want[name] = strings.ReplaceAll(content, bare.dir, l.dir)
			}
			require.Equal(t, want, got)
		})
	}
}
