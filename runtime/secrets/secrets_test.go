package secrets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/secrets"
)

const components = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: file}
spec:
  type: secretstores.local.file
  version: v1
  metadata:
  - {name: secretsFile, value: FILE}
  - {name: multiValued, value: "true"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: env}
spec:
  type: secretstores.local.env
  version: v1
`

// stores are a file's and the environment's, as resources make them.
func stores(t *testing.T) []*config.SecretStore {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets.json")
	for path, text := range map[string]string{
		file:                               `{"db":{"user":"u","password":"hunter2"},"key":"k1","hidden":"h"}`,
		filepath.Join(dir, "secrets.yaml"): strings.Replace(components, "FILE", file, 1),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	told, err := config.Sidecar{AppID: "app"}.Resources([]string{dir}, func(name string) string {
		return map[string]string{"TOKEN": "t1", "DAPR_API_TOKEN": "kept back"}[name]
	})
	if err != nil || len(told.SecretStores) != 2 {
		t.Fatal(told.SecretStores, err)
	}
	return told.SecretStores
}

func TestSecretsAreThoseOfTheStores(t *testing.T) {
	t.Parallel()
	var b secrets.Block
	b.Use(stores(t), map[string]config.SecretScope{"file": {Denied: []string{"hidden"}}})
	for _, c := range []struct {
		store, name string
		want        map[string]string
	}{
		{"file", "db", map[string]string{"user": "u", "password": "hunter2"}},
		{"file", "key", map[string]string{"key": "k1"}},
		{"env", "TOKEN", map[string]string{"TOKEN": "t1"}},
		{"env", "NOTHING", map[string]string{"NOTHING": ""}},
		{"env", "DAPR_API_TOKEN", map[string]string{"DAPR_API_TOKEN": ""}},
	} {
		got, err := b.Get(c.store, c.name)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s of %s: %v (-want +got)\n%s", c.name, c.store, err, diff)
		}
	}
	all, err := b.Bulk("file")
	want := map[string]map[string]string{"db": {"user": "u", "password": "hunter2"}, "key": {"key": "k1"}}
	if diff := cmp.Diff(want, all); diff != "" || err != nil {
		t.Errorf("bulk: %v (-want +got)\n%s", err, diff)
	}
	if all, err := b.Bulk("env"); len(all) > 0 || err != nil {
		t.Errorf("bulk of the environment: %v, %v", all, err)
	}
}

func TestWhatCannotBeGotIsSaidAsDaprSaysIt(t *testing.T) {
	t.Parallel()
	var none, b secrets.Block
	b.Use(stores(t), map[string]config.SecretScope{"file": {Denied: []string{"hidden"}}, "env": {Deny: true, Allowed: []string{"TOKEN"}}})
	get := func(b *secrets.Block, store, name string) error {
		_, err := b.Get(store, name)
		return err
	}
	_, bulk := b.Bulk("other")
	for _, c := range []struct {
		about string
		err   error
		want  daprerr.Error
	}{
		{"no stores", get(&none, "file", "key"), daprerr.Error{HTTP: 500, GRPC: 9, Code: "ERR_SECRET_STORES_NOT_CONFIGURED", Message: "secret store is not configured"}},
		{"no such store", get(&b, "other", "key"), daprerr.Error{HTTP: 401, GRPC: 3, Code: "ERR_SECRET_STORE_NOT_FOUND", Message: "failed finding secret store with key other"}},
		{"no such store, bulk", bulk, daprerr.Error{HTTP: 401, GRPC: 3, Code: "ERR_SECRET_STORE_NOT_FOUND", Message: "failed finding secret store with key other"}},
		{"denied", get(&b, "file", "hidden"), daprerr.Error{HTTP: 403, GRPC: 7, Code: "ERR_PERMISSION_DENIED", Message: `access denied by policy to get "hidden" from "file"`}},
		{"not allowed", get(&b, "env", "HOME"), daprerr.Error{HTTP: 403, GRPC: 7, Code: "ERR_PERMISSION_DENIED", Message: `access denied by policy to get "HOME" from "env"`}},
		{"not there", get(&b, "file", "none"), daprerr.Error{HTTP: 500, GRPC: 13, Code: "ERR_SECRET_GET", Message: "failed getting secret with key none from secret store file: secret none not found"}},
	} {
		e, ok := daprerr.As(c.err)
		if !ok || e.HTTP != c.want.HTTP || e.GRPC != c.want.GRPC || e.Code != c.want.Code || e.Message != c.want.Message {
			t.Errorf("%s: %+v, want %+v", c.about, e, c.want)
			continue
		}
		if over := e.ForGRPC(); over.GRPC != c.want.GRPC || over.Message != c.want.Message || over.Info != nil {
			t.Errorf("%s over gRPC: %+v", c.about, over)
		}
	}
}

// Other stores count from the next call on.
func TestStoresMayChange(t *testing.T) {
	t.Parallel()
	var b secrets.Block
	all := stores(t)
	b.Use(all, nil)
	b.Use(nil, nil)
	if _, err := b.Get("file", "key"); err == nil || err.Error() != "secret store is not configured" {
		t.Errorf("%v", err)
	}
}
