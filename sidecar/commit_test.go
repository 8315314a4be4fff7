package sidecar

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// twoCommits is a machine whose last two folds added 1 each; the change in memory of the third was never begun.
func twoCommits(t *testing.T) (m *machine, older, newer string) {
	m = newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	for range 2 {
		require.NoError(t, g.Journal(t.Context(), incr("/n")))
		_, err := g.Flush(t.Context())
		require.NoError(t, err)
	}
	newest, err := g.store.newestCommit()
	require.NoError(t, err)
	return m, commitName(newest.Generation - 1), commitName(newest.Generation)
}

// put replaces the content of a file of the guard directory.
func (m *machine) put(name string, content []byte) {
	dir, err := m.mem.OpenDir(guardOfFile)
	require.NoError(m, err)
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	require.NoError(m, err)
	_, err = f.Write(content)
	require.NoError(m, err)
	require.NoError(m, f.Close())
}

func (m *machine) get(name string) []byte {
	dir, err := m.mem.OpenDir(guardOfFile)
	require.NoError(m, err)
	raw, err := readFile(dir, name)
	require.NoError(m, err)
	return raw
}

func (m *machine) newest() (*commit, error) {
	dir, err := m.mem.OpenDir(guardOfFile)
	require.NoError(m, err)
	return (&store{guard: dir}).newestCommit()
}

// A record is believed whole or not at all: torn or flipped, its neighbour counts.
func TestTornAndFlippedRecords(t *testing.T) {
	m, older, newer := twoCommits(t)
	good := m.get(newer)
	want, err := m.newest()
	require.NoError(t, err)
	before := parseCommit(m.get(older))
	require.Equal(t, want.Generation, before.Generation+1)
	check := func(raw []byte) {
		m.put(newer, raw)
		got, err := m.newest()
		require.NoError(t, err)
		if got.Generation == want.Generation { // a letter of the checksum in the other case
			require.Equal(t, want.After, got.After)
			require.True(t, bytes.EqualFold(raw, good))
			return
		}
		require.Equal(t, before.Generation, got.Generation)
		require.Equal(t, before.After, got.After)
	}
	for cut := range len(good) {
		check(good[:cut])
	}
	for at := range good {
		for bit := range 8 {
			flipped := bytes.Clone(good)
			flipped[at] ^= 1 << bit
			check(flipped)
		}
	}
	check(append(bytes.Clone(good), 'x'))
	check(append(make([]byte, 512), good...))
}

// Without a valid record nothing is folded, nothing changed and nothing lost: damage, and verify says so.
func TestNoValidRecordIsDamage(t *testing.T) {
	for name, ruin := range map[string]func(m *machine){
		"both torn":          func(m *machine) { m.put("commit.0", []byte("{")); m.put("commit.1", nil) },
		"both gone":          func(m *machine) { m.remove("commit.0"); m.remove("commit.1") },
		"one gone, one torn": func(m *machine) { m.remove("commit.0"); m.put("commit.1", make([]byte, 300)) },
	} {
		t.Run(name, func(t *testing.T) {
			m, _, _ := twoCommits(t)
			m.plant(strangerID, stranger(t, header{}, 1))
			ruin(m)
			tree := m.mem.Tree()
			for _, use := range []func(g *Guard) error{
				func(g *Guard) error { _, err := g.Flush(t.Context()); return err },
				func(g *Guard) error { _, err := g.Apply(t.Context(), incr("/n")); return err },
				func(g *Guard) error { _, _, err := g.Recover(t.Context(), true); return err },
				func(g *Guard) error { _, err := g.Clean(t.Context()); return err },
				func(g *Guard) error { _, err := g.Status(t.Context()); return err },
			} {
				g := m.process(Options{})
				require.ErrorIs(t, use(g), ErrDamaged)
				require.NoError(t, g.Close())
			}
			g := m.process(Options{})
			content, err := g.Read(t.Context())
			require.NoError(t, err, "reading goes on")
			require.Equal(t, `{"n":2}`, string(content))
			findings, err := g.Verify(t.Context(), false)
			require.NoError(t, err)
			var commit Finding
			for _, f := range findings {
				if f.Check == "commit" {
					commit = f
				}
			}
			require.False(t, commit.OK)
			require.NotEmpty(t, commit.Detail)
			after := m.mem.Tree()
			delete(after, machineDir+"/"+machineFile+".lock")
			delete(tree, machineDir+"/"+machineFile+".lock")
			require.True(t, maps.Equal(tree, after))
		})
	}
}

func (m *machine) remove(name string) {
	dir, err := m.mem.OpenDir(guardOfFile)
	require.NoError(m, err)
	require.NoError(m, dir.Remove(name))
}

// What stands in settled is a hint: garbage, an older generation or nothing cost a look, never a change.
func TestSettledMayBeAnything(t *testing.T) {
	for name, content := range map[string][]byte{
		"empty": {}, "garbage": []byte("\x00\xffgarbage\n"), "zeros": make([]byte, 600), "JSON": []byte("{}\n"),
		"no checksum": []byte(`{"generation":3}` + "\n"), "negative": sealed([]byte(`{"generation":-1}`)),
		"older": sealed([]byte(`{"generation":1}`)), "none": sealed([]byte(`{"generation":0}`)), "text": sealed([]byte(`{"generation":"3"}`)),
	} {
		t.Run(name, func(t *testing.T) {
			m, _, _ := twoCommits(t)
			m.put(settledName, content)
			require.Equal(t, `{"n":2}`, m.recovered())
			m.put(settledName, content)
			m.plant(strangerID, stranger(t, header{}, 1))
			m.recovered()
			require.Equal(t, map[string]int{"n": 2, "c0": 1}, m.counts())
			m.put(settledName, content)
			require.Equal(t, map[string]int{"n": 2, "c0": 1}, func() map[string]int { m.recovered(); return m.counts() }())
		})
	}
}

func TestIdentities(t *testing.T) {
	file := identity{Inode: 7, Size: 3, MTime: 5, Hash: contentHash([]byte("abc"))}
	require.True(t, file.same(file))
	copied := file
	copied.Inode, copied.MTime = 8, 6
	require.False(t, file.sameFile(copied))
	require.True(t, file.same(copied), "the same content in another file")
	other := copied
	other.Hash = contentHash([]byte("abd"))
	require.False(t, file.same(other))
	missing := identity{Missing: true}
	require.True(t, missing.same(missing))
	require.False(t, missing.same(file))
	require.False(t, missing.sameFile(missing))
	h, ok := resumeHash(contentHash([]byte("ab")))
	require.True(t, ok)
	h.add([]byte("c"))
	require.Equal(t, contentHash([]byte("abc")), h.String())
	_, ok = resumeHash("zz")
	require.False(t, ok)
}

// A guard directory that was never finished is made anew; one that was used and lost its records is not.
func TestUnfinishedGuardDirectory(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	dir, err := m.mem.OpenDir(machineDir)
	require.NoError(t, err)
	require.NoError(t, dir.Mkdir("."+machineFile+".guard", 0o700))
	m.put("commit.1", []byte("torn"))
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.NoError(t, g.Close())
	require.Equal(t, `{"n":1}`, m.content())
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte("{}\n"))
	f.Add(sealed([]byte(`{"generation":4,"kind":"replace","before":{},"after":{"a":1}}`)))
	f.Add([]byte(`{"generation":7,"kind":"append","before":{"a":1},"after":{"a":2,"b":1},"temp":".x.jsonguard-tmp","from":{"inode":1,"size":2,"mtime":3,"hash":"0011223344556677"},"to":{"missing":true},"rejected":[{"id":"a","seq":2}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		parseCommit(raw)
		if !bytes.HasSuffix(raw, []byte("}")) || bytes.Contains(raw, []byte("\n")) {
			return
		}
		// With the checksum that belongs to it, which no fuzzer finds: what is read is what is written, and read again.
		c := parseCommit(sealed(bytes.Clone(raw)))
		if c == nil {
			require.False(t, json.Unmarshal(raw, new(commit)) == nil, "%q", raw)
			return
		}
		written, err := json.Marshal(c)
		require.NoError(t, err)
		again := parseCommit(sealed(bytes.Clone(written)))
		require.NotNil(t, again, "%s", written)
		rewritten, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(written), string(rewritten))
	})
}
