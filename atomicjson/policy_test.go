package atomicjson_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/atomicjson"
	"jsonguard/sidecar"
)

type results struct {
	Models map[string]*model `json:"models"`
}

type model struct {
	Total int `json:"total"`
}

func TestUpdatesAreUnderThePolicy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.json")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "jsonguard.json"), []byte(`{"rules": [
		{"at": "/models/*/total", "merge": "sum"}, {"at": "/models/*/double", "derive": ".total * 2"},
		{"at": "/models", "rename": [{"match": "^v3.*$", "to": "V3"}]}]}`), 0o600))
	require.NoError(t, os.WriteFile(file, []byte(`{"models": {"V3": {"total": 1, "double": 2}}}`), 0o600))
	require.NoError(t, atomicjson.Update(t.Context(), file, func(d *atomicjson.Document) error {
		if err := d.Add("/models/v3-2/total", 1); err != nil {
			return err
		}
		var n int
		if err := d.Get("/models/v3-2/total", &n); err != nil {
			return err
		}
		require.Equal(t, 2, n, "by its own name the program sees what is there")
		return nil
	}))
	require.NoError(t, atomicjson.UpdateAs(t.Context(), file, func(r *results) error {
		r.Models["v3-9"] = &model{Total: 5}
		return nil
	}))
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, `{"models": {"V3": {"total": 7, "double": 14}}}`, string(raw))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "jsonguard.json"), []byte(`{"rool": 1}`), 0o600))
	err = atomicjson.Update(t.Context(), file, func(*atomicjson.Document) error {
		t.Error("called under a wrong policy")
		return nil
	})
	require.ErrorIs(t, err, sidecar.ErrPolicy)
	_, err = atomicjson.Read(t.Context(), file)
	require.ErrorIs(t, err, sidecar.ErrPolicy)
}
