package config_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

const fullConfiguration = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: appconfig
spec:
  tracing:
    samplingRate: 1
    stdout: true
    zipkin:
      endpointAddress: http://${ZIPKIN}:9411/api/v2/spans
    otel:
      endpointAddress: $OTLP
      protocol: grpc
      isSecure: false
      timeout: 5s
      headers:
      - a=b=c
      - name: d
        value: 7
  metric:
    enabled: false
    rules:
    - name: dapr_runtime_service_invocation_req_sent_total
      labels:
      - name: method
        regex:
          orders: /orders/.+
  metrics:
    enabled: true
    recordErrorCodes: true
    latencyDistributionBuckets: [1, 5, 10]
    http:
      increasedCardinality: false
      pathMatching: ["/orders/{id}"]
      excludeVerbs: true
  logging:
    apiLogging:
      enabled: true
      obfuscateURLs: true
      omitHealthChecks: true
  api:
    allowed:
    - name: invoke
      version: v1
      protocol: http
  nameResolution:
    component: mdns
    version: v1
    configuration: {a: 1}
  httpPipeline:
    handlers:
    - name: auth
      type: middleware.http.bearer
  appHttpPipeline:
    handlers:
    - {name: upper, type: middleware.http.uppercase, version: v1}
  mtls:
    enabled: true
    workloadCertTTL: 24h
    allowedClockSkew: 15m
  components:
    deny: [bindings.smtp, secretstores.local.file/v1]
  features:
  - name: HotReload
    enabled: false
  secrets:
    scopes:
    - storeName: vault
      defaultAccess: Deny
      allowedSecrets: [a]
  accessControl:
    defaultAction: deny
    trustDomain: public
    policies:
    - appId: todo
      defaultAction: deny
      trustDomain: public
      namespace: default
      operations:
      - name: /notify
        httpVerb: [POST]
        action: allow
  wasm:
    strictSandbox: true
`

func TestAConfigurationIsReadAsDaprHasIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(folder(t, "c.yaml", fullConfiguration), "c.yaml")
	got, err := config.Sidecar{ConfigFiles: []string{file}}.Configuration(environment("ZIPKIN", "z", "OTLP", "o:4317"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Configuration{
		Name: "appconfig",
		Tracing: config.Tracing{
			SamplingRate: "1", Stdout: true, ZipkinEndpoint: "http://z:9411/api/v2/spans",
			OTel: config.OTel{Protocol: "grpc", Endpoint: "o:4317", Headers: map[string]string{"a": "b=c", "d": "7"}, Timeout: 5 * time.Second},
		},
		Metrics: config.Metrics{
			Enabled: new(true), RecordErrorCodes: true, IncreasedCardinality: new(false), PathMatching: []string{"/orders/{id}"}, ExcludeVerbs: true,
			LatencyBuckets: []float64{1, 5, 10},
			Rules: []config.MetricRule{{
				Name:   "dapr_runtime_service_invocation_req_sent_total",
				Labels: []config.MetricLabel{{Name: "method", Regex: map[string]string{"orders": "/orders/.+"}}},
			}},
		},
		APILogging:     config.APILogging{Enabled: new(true), ObfuscateURLs: true, OmitHealthChecks: true},
		API:            config.APILists{Allowed: []config.APIRule{{Name: "invoke", Version: "v1", Protocol: "http"}}},
		NameResolution: config.NameResolution{Component: "mdns", Version: "v1", Configuration: map[string]any{"a": uint64(1)}},
		HTTPPipeline:   []config.Handler{{Name: "auth", Type: "middleware.http.bearer", At: file + ":52"}},
		AppHTTPPipeline: []config.Handler{
			{Name: "upper", Type: "middleware.http.uppercase", Version: "v1", At: file + ":56"},
		},
		MTLS:             &config.MTLS{Enabled: true, WorkloadCertTTL: 24 * time.Hour, AllowedClockSkew: 15 * time.Minute},
		DeniedComponents: []string{"bindings.smtp", "secretstores.local.file/v1"},
		Features:         map[string]bool{"HotReload": false},
		SecretScopes:     map[string]config.SecretScope{"vault": {Deny: true, Allowed: []string{"a"}}},
		AccessControl: config.AccessControl{
			DefaultAction: "deny", TrustDomain: "public",
			Policies: []config.AccessPolicy{{
				AppID: "todo", TrustDomain: "public", Namespace: "default", DefaultAction: "deny", At: file + ":75",
				Operations: []config.AccessOperation{{Name: "/notify", Verbs: []string{"POST"}, Action: "allow", At: file + ":80"}},
			}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNothingSaidIsNoConfiguration(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "metadata:\n", "spec:\n"} {
		file := filepath.Join(folder(t, "c.yaml", text), "c.yaml")
		got, err := config.Sidecar{ConfigFiles: []string{file}}.Configuration(environment())
		if silent := !strings.Contains(text, ":"); silent != slices.Equal(got.Silent, []string{file}) {
			t.Errorf("%q: silent %v", text, got.Silent)
		}
		if want := (config.Configuration{Silent: got.Silent, Tracing: config.Tracing{OTel: config.OTel{Secure: got.Tracing.OTel.Secure}}}); !cmp.Equal(got, want) || err != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if got, err := (config.Sidecar{}).Configuration(environment()); !cmp.Equal(got, config.Configuration{}) || err != nil {
		t.Errorf("without a file: %+v, %v", got, err)
	}
}

func TestLaterConfigurationsGoOverEarlierOnes(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.yaml", "metadata: {name: a}\nspec:\n  tracing: {samplingRate: \"1\", stdout: true}\n  components:\n    deny: [a, b]\n  mtls: {enabled: true}\n",
		"b.yaml", "metadata: {name: b}\nspec:\n  tracing:\n    samplingRate: \"0.5\"\n    zipkin:\n      endpointAddress: http://z\n  components: {deny: [c]}\n  mtls:\n  accessControl:\n    policies:\n    - appId: x\n",
		"c.yaml", "spec:\n  logging: {apiLogging: {enabled: true}}\n---\nmetadata: {name: unread}\n")
	path := func(name string) string { return filepath.Join(dir, name) }
	got, err := config.Sidecar{ConfigFiles: []string{path("a.yaml"), path("b.yaml"), path("c.yaml")}}.Configuration(environment())
	if err != nil {
		t.Fatal(err)
	}
	want := config.Configuration{
		Name:             "b",
		Tracing:          config.Tracing{SamplingRate: "0.5", Stdout: true, ZipkinEndpoint: "http://z", OTel: config.OTel{Secure: true}},
		DeniedComponents: []string{"c"}, MTLS: &config.MTLS{Enabled: true},
		APILogging:    config.APILogging{Enabled: new(true)},
		AccessControl: config.AccessControl{Policies: []config.AccessPolicy{{AppID: "x", At: path("b.yaml") + ":11"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMistakesInAConfigurationAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"c.yaml:3: Configuration c: a text stands where true or false is expected":  "metadata: {name: c}\nspec:\n  tracing: {stdout: sometimes}\n",
		"c.yaml:2: Configuration : a text stands where a mapping is expected":       "spec:\n  tracing: all\n",
		"c.yaml:3: Configuration : a mapping stands where a list is expected":       "spec:\n  accessControl:\n    policies: {appId: a}\n",
		"c.yaml:1: this is a Component, and no Configuration":                       "kind: Component\nmetadata: {name: x}\n",
		"c.yaml:3: spec.mtls.workloadCertTTL: \"soon\" is not a time":               "spec:\n  mtls:\n    workloadCertTTL: soon\n",
		"c.yaml:5: spec.secrets.scopes names the store \"a\" twice":                 "spec:\n  secrets:\n    scopes:\n    - storeName: a\n    - storeName: a\n",
		"c.yaml:4: spec.secrets.scopes: defaultAccess \"maybe\" is neither allow n": "spec:\n  secrets:\n    scopes:\n    - {storeName: a, defaultAccess: maybe}\n",
		"c.yaml:2: ": "spec:\n  a: [\n",
	} {
		_, err := config.Sidecar{ConfigFiles: []string{filepath.Join(folder(t, "c.yaml", text), "c.yaml")}}.Configuration(environment())
		if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, err := config.Sidecar{ConfigFiles: []string{filepath.Join(t.TempDir(), "gone.yaml")}}.Configuration(environment())
	if !apperr.Is(err, apperr.Usage) || !strings.Contains(err.Error(), "gone.yaml") {
		t.Errorf("%v", err)
	}
}

func TestASecretScopeAllows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		scope config.SecretScope
		want  bool
	}{
		"nothing said":          {config.SecretScope{}, true},
		"denied":                {config.SecretScope{Denied: []string{"a"}}, false},
		"another denied":        {config.SecretScope{Denied: []string{"b"}}, true},
		"all denied":            {config.SecretScope{Deny: true}, false},
		"all denied but it":     {config.SecretScope{Deny: true, Allowed: []string{"a"}}, true},
		"others allowed":        {config.SecretScope{Allowed: []string{"b"}}, false},
		"in both: allowed wins": {config.SecretScope{Allowed: []string{"a"}, Denied: []string{"a"}}, true},
	} {
		if got := c.scope.Allows("a"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whatever files hold, reading them ends without a panic.
func FuzzConfiguration(f *testing.F) {
	f.Add(fullConfiguration, "spec: {tracing: {stdout: true}}")
	f.Add("spec: &a {accessControl: {policies: [{appId: a}]}}", "spec: {accessControl: {policies: [{appId: b, operations: [{name: x}]}]}}")
	f.Add("spec:\n  accessControl: {policies: &p [{appId: a}]}\n", "spec: {accessControl: {policies: *p}}")
	f.Fuzz(func(t *testing.T, first, second string) {
		dir := folder(t, "a.yaml", first, "b.yaml", second)
		_, _ = config.Sidecar{ConfigFiles: []string{filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")}}.Configuration(environment())
	})
}
