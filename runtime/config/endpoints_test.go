package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

// folder is a folder of files, in pairs of name and text.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func getenv(name string) string {
	return map[string]string{"API_KEY": "from-env", "DAPR_API_TOKEN": "leaked", "APP_API_TOKEN": "leaked"}[name]
}

func endpoints(c config.Sidecar, paths ...string) ([]config.HTTPEndpoint, error) {
	told, err := c.Resources(paths, getenv)
	return told.HTTPEndpoints, err
}

const fullEndpoint = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: other
spec:
  type: state.redis
---
# a comment before it
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata:
  name: pay
  namespace: default
spec:
  version: v1
  baseUrl: https://pay.example:8443/v1
  headers:
  - name: X-Key
    envRef: API_KEY
  - name: X-Number
    value: 17
  - name: "Accept"
    value: "text/plain"
  clientTLS:
    rootCA:
      value: |
        -----BEGIN CERTIFICATE-----
        root
        -----END CERTIFICATE-----
    certificate:
      value: cert
    privateKey:
      value: key
    renegotiation: RenegotiateOnceAsClient
scopes: [orders, other]
`

func TestHTTPEndpointsAreReadAsDaprHasThem(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.yaml", fullEndpoint, "notes.txt", "{", "empty.yml", "", "list.yaml", "- 1\n- 2\n")
	c := config.Sidecar{AppID: "orders", Namespace: "default", ResourcesPaths: []string{dir}}
	got, err := endpoints(c, c.ResourcePaths(config.Home{})...)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.HTTPEndpoint{{
		Name: "pay", BaseURL: "https://pay.example:8443/v1", At: filepath.Join(dir, "a.yaml") + ":9",
		Headers: []config.EndpointHeader{{Name: "X-Key", Value: "from-env"}, {Name: "X-Number", Value: "17"}, {Name: "Accept", Value: "text/plain"}},
		TLS: config.ClientTLS{
			RootCA:      "-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n",
			Certificate: "cert", PrivateKey: "key", Renegotiation: "once",
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for name, other := range map[string]config.Sidecar{
		"not in its scopes": {AppID: "third", Namespace: "default"},
		"another namespace": {AppID: "orders", Namespace: "prod", NamespaceGiven: true},
	} {
		if got, err := endpoints(other, dir); len(got) > 0 || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := endpoints(c, filepath.Join(dir, "a.yaml")); len(got) != 1 || err != nil {
		t.Errorf("of a file: %v, %v", got, err)
	}
}

func minimal(name, more string) string {
	return "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata:\n  name: " + name + "\nspec:\n  baseUrl: http://x\n" + more
}

func TestAnEndpointWhoseStoreIsNotNamedIsUnusable(t *testing.T) {
	t.Parallel()
	for _, more := range []string{
		"  headers:\n  - name: X-Key\n    secretKeyRef:\n      name: s\n      key: k\n",
		"  clientTLS:\n    rootCA:\n      secretKeyRef: {name: s, key: k}\n",
		"  clientTLS:\n    privateKey:\n      secretKeyRef: {name: s, key: k}\n",
	} {
		got, err := endpoints(config.Sidecar{}, folder(t, "a.yaml", minimal("pay", more)))
		if err != nil || len(got) != 1 || !strings.Contains(got[0].Unusable, "auth.secretStore") {
			t.Errorf("%s: %+v, %v", more, got, err)
		}
	}
}

func TestWrongHTTPEndpointsAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"a.yaml:1: HTTPEndpoint pay: the header X-T may not be the environment's dapr_api_token": minimal("pay", "  headers:\n  - name: X-T\n    envRef: dapr_api_token\n"),
		"may not be the environment's APP_API_TOKEN":                                             minimal("pay", "  headers:\n  - name: X-T\n    envRef: APP_API_TOKEN\n"),
		"spec.headers[0] has no name":                                                            minimal("pay", "  headers:\n  - value: x\n"),
		"spec.clientTLS.renegotiation \"Sometimes\"":                                             minimal("pay", "  clientTLS:\n    renegotiation: Sometimes\n"),
		"it is defined at":         minimal("pay", "---\n"+minimal("pay", "")),
		"metadata.name is missing": minimal("", ""),
		"spec.baseUrl is missing":  "kind: HTTPEndpoint\nmetadata:\n  name: pay\n",
		"a.yaml:3":                 "kind: HTTPEndpoint\nmetadata:\n  name: [\n",
		"a.yaml:4: HTTPEndpoint pay: a number stands where a mapping is expected": "kind: HTTPEndpoint\nmetadata:\n  name: pay\nspec: 1\n",
	} {
		_, err := endpoints(config.Sidecar{}, folder(t, "a.yaml", text))
		if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "leaked") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, err := endpoints(config.Sidecar{}, filepath.Join(t.TempDir(), "gone"))
	if !apperr.Is(err, apperr.Usage) {
		t.Errorf("%v", err)
	}
}

func TestTheHomesResourcesCountWhereNoFlagNamesAny(t *testing.T) {
	t.Parallel()
	home := config.Home{Path: t.TempDir()}
	run, sidecar := config.Sidecar{Profile: config.RunProfile()}, config.Sidecar{Profile: config.SidecarProfile()}
	if got := run.ResourcePaths(home); len(got) > 0 {
		t.Errorf("a folder that is not there: %v", got)
	}
	if err := os.Mkdir(home.Resources(), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := run.ResourcePaths(home); len(got) != 1 || got[0] != home.Resources() {
		t.Errorf("%v", got)
	}
	if got := sidecar.ResourcePaths(home); len(got) > 0 {
		t.Errorf("daprd reads no home: %v", got)
	}
	run.ResourcesPaths = []string{"x"}
	if got := run.ResourcePaths(home); len(got) != 1 || got[0] != "x" {
		t.Errorf("%v", got)
	}
}
