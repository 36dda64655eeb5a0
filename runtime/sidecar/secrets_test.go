//go:build unix

package sidecar_test

import (
	"net/http"
	"path/filepath"
	"strconv"
	"testing"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/runtime/config"
)

// Secrets are at both doors, in the scopes of the Configuration, and follow
// their files.
func TestSecretsOfAStoreAreAtBothDoors(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	dir := t.TempDir()
	file, resource, configuration := filepath.Join(dir, "secrets.json"), filepath.Join(dir, "a.yaml"), filepath.Join(dir, "configuration")
	put(t, file, `{"key":"k1","hidden":"h"}`)
	put(t, resource, component("vault", "secretstores.local.file", "  metadata:\n  - {name: secretsFile, value: "+file+"}\n"))
	put(t, configuration, "kind: Configuration\nspec:\n  secrets:\n    scopes:\n    - {storeName: vault, deniedSecrets: [hidden]}\n")
	p := newPlace(t)
	r := p.start("", config.Sidecar{AppID: "app", AppPort: port, ResourcesPaths: []string{dir}, ConfigFiles: []string{configuration}})
	entry := p.ready(r, "app")
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+strconv.Itoa(int(entry.GRPCPort)), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := runtimev1.NewDaprClient(conn)

	for path, want := range map[string]string{
		"/v1.0/secrets/vault/key":    "200 {\"key\":\"k1\"}\n",
		"/v1.0/secrets/vault/bulk":   "200 {\"key\":{\"key\":\"k1\"}}\n",
		"/v1.0/secrets/vault/hidden": `403 {"errorCode":"ERR_PERMISSION_DENIED","message":"access denied by policy to get \"hidden\" from \"vault\""}`,
		"/v1.0/secrets/vault/none":   `500 {"errorCode":"ERR_SECRET_GET","message":"failed getting secret with key none from secret store vault: secret none not found"}`,
		"/v1.0/secrets/other/key":    `401 {"errorCode":"ERR_SECRET_STORE_NOT_FOUND","message":"failed finding secret store with key other"}`,
	} {
		if code, text, _ := get(t, entry.HTTPPort, path); strconv.Itoa(code)+" "+text != want {
			t.Errorf("%s: %d %q, want %q", path, code, text, want)
		}
	}
	one, err := client.GetSecret(t.Context(), &runtimev1.GetSecretRequest{StoreName: "vault", Key: "key"})
	if err != nil || one.GetData()["key"] != "k1" {
		t.Errorf("GetSecret: %v, %v", one, err)
	}
	all, err := client.GetBulkSecret(t.Context(), &runtimev1.GetBulkSecretRequest{StoreName: "vault"})
	if err != nil || len(all.GetData()) != 1 || all.GetData()["key"].GetSecrets()["key"] != "k1" {
		t.Errorf("GetBulkSecret: %v, %v", all, err)
	}
	if _, err := client.GetSecret(t.Context(), &runtimev1.GetSecretRequest{StoreName: "vault", Key: "hidden"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a secret that is denied: %v", err)
	}

	put(t, resource, component("safe", "secretstores.local.file", "  metadata:\n  - {name: secretsFile, value: "+file+"}\n"))
	r.await("the new store", func() bool {
		code, _, _ := get(t, entry.HTTPPort, "/v1.0/secrets/safe/key")
		return code == http.StatusOK
	})
}
