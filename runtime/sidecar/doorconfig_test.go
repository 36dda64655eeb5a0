//go:build unix

package sidecar_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
)

// What a Configuration says of the doors holds at them: lists, pipeline, API
// log, and what the flags say of bodies.
func TestAConfigurationHoldsAtTheDoors(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	dir := t.TempDir()
	put(t, filepath.Join(dir, "alias.yaml"), component("alias", "middleware.http.routeralias",
		"  metadata:\n  - name: routes\n    value: '{\"/short/{n}\": \"/v1.0/invoke/app/method/long\"}'\n"))
	configuration := filepath.Join(dir, "configuration")
	put(t, configuration, `kind: Configuration
spec:
  httpPipeline:
    handlers:
    - {name: alias, type: middleware.http.routeralias}
  api:
    denied:
    - {name: shutdown, version: v1, protocol: http}
    - {name: invoke, version: v1, protocol: grpc}
  logging:
    apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}
`)
	p := newPlace(t)
	r := p.start("", config.Sidecar{
		AppID: "app", AppPort: port, MaxBody: 10, AppHealth: config.AppHealth{Check: true}, ResourcesPaths: []string{dir}, ConfigFiles: []string{configuration},
	})
	door := p.ready(r, "app").HTTPPort
	if status, text, _ := get(t, door, "/short/7?m=2"); status != http.StatusOK || !strings.Contains(text, "/long?m=2&n=7") {
		t.Errorf("an alias: %d %s", status, text)
	}
	if status, text, _ := get(t, door, "/v1.0/healthz"); status != http.StatusNoContent {
		t.Errorf("health: %d %s", status, text)
	}
	_, text, _ := get(t, door, "/v1.0/metadata")
	for _, want := range []string{
		`"components":[{"name":"alias","type":"middleware.http.routeralias","version":"v1"},` +
			`{"name":"statestore","type":"state.sqlite","version":"v1","capabilities":["ETAG","TRANSACTIONAL","TTL","ACTOR"]}]`,
		`"channelAddress":"127.0.0.1","health":{"healthCheckPath":"/healthz","healthProbeInterval":"5s","healthProbeTimeout":"500ms","healthThreshold":3}}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metadata: %s, want %s", text, want)
		}
	}
	for path, want := range map[string]string{
		"/v1.0/shutdown":             "404 ERR_DIRECT_INVOKE",
		"/v1.0/invoke/app/method/ok": "500 ERR_DIRECT_INVOKE stream too large",
		"/v1.0/bindings/b":           "400 ERR_MALFORMED_REQUEST stream too large",
	} {
		status, text := post(t, door, path, strings.Repeat("[", 11))
		code, says, _ := strings.Cut(want, " ")
		word, more, _ := strings.Cut(says, " ")
		if strconv.Itoa(status) != code || !strings.Contains(text, word) || !strings.Contains(text, more) {
			t.Errorf("%s: %d %s, want %s", path, status, text, want)
		}
	}
	for _, want := range []string{
		`msg="HTTP API Called" app_id=app code=200 duration=`, `method="InvokeService/app"`, `method="InvokeBinding"`, `method="InvokeService"`,
	} {
		r.awaitSaid(want)
	}
	for _, n := range r.notices() {
		if strings.Contains(n.Text, "Healthz") || strings.Contains(n.Text, `method="GET `) || strings.Contains(n.Text, `method="POST `) {
			t.Errorf("logged: %s", n.Text)
		}
	}
}

// Who says no on the command line is heard before the Configuration.
func TestNoAPILogWhereTheCommandLineSaysSo(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	configuration := filepath.Join(t.TempDir(), "configuration")
	put(t, configuration, "kind: Configuration\nspec:\n  logging:\n    apiLogging: {enabled: true}\n")
	for _, off := range []bool{true, false} {
		p := newPlace(t)
		r := p.start("", config.Sidecar{AppID: "app", AppPort: port, APILoggingOff: off, ConfigFiles: []string{configuration}})
		door := p.ready(r, "app").HTTPPort
		for range 2 {
			if status, text, _ := get(t, door, "/v1.0/invoke/app/method/x"); status != http.StatusOK {
				t.Errorf("%d %s", status, text)
			}
		}
		if !off {
			r.awaitSaid("HTTP API Called")
		}
		for _, n := range r.notices() {
			if off && strings.Contains(n.Text, "HTTP API Called") {
				t.Errorf("logged: %s", n.Text)
			}
		}
	}
}

func post(t *testing.T, port uint16, path, body string) (status int, text string) {
	t.Helper()
	answer, err := http.Post("http://127.0.0.1:"+strconv.Itoa(int(port))+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}
