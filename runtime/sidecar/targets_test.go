//go:build unix

package sidecar_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
)

// told is a server that answers with the head it was sent.
func told(t *testing.T) (s *httptest.Server, port uint16) {
	t.Helper()
	kept := porttest.Reserve(t) // a test that closes the server has nobody else there
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.Header.Get("X-Redirect"); to != "" && r.URL.Path != "/there" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s\n", r.Method, r.RequestURI)
		_ = r.Header.Write(w)
	}))
	_ = s.Listener.Close() // it has another one
	s.Listener = kept.Listen(t)
	s.Start()
	t.Cleanup(s.Close)
	return s, kept.Number()
}

// get asks the door at port for path, with fields as name and value by turns.
func get(t *testing.T, port uint16, path string, fields ...string) (status int, text string, head http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(int(port)), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = path
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data), answer.Header
}

// A call to oneself goes straight to the app, with the fields and under the
// rules of any other, and is logged as one.
func TestASelfCallIsACallLikeAnyOther(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	p := newPlace(t)
	r := p.start("", config.Sidecar{
		AppID: "app", AppPort: port, AppToken: "for-the-app", APILogging: true,
		AccessRules: "deny app /secret; allow app",
	})
	r.awaitNotice("sidecar is up")
	door := p.entries()[0].HTTPPort
	status, text, _ := get(t, door, "/v1.0/invoke/app/method/a%20b?x=1", "User-Agent", "test")
	for _, want := range []string{
		"GET /a%20b?x=1\n", "Dapr-Caller-App-Id: app\r\n", "Dapr-Callee-App-Id: app\r\n", "Dapr-Caller-Namespace: default\r\n",
		"X-Forwarded-For: ", "Forwarded: for=", "Dapr-Api-Token: for-the-app\r\n",
	} {
		if status != 200 || !strings.Contains(text, want) {
			t.Errorf("%d, the app got\n%s\nwithout %q", status, text, want)
		}
	}
	// The rules are in force for oneself too, and with them the one for paths.
	for path, want := range map[string]apperr.Reason{
		"/a%20b//c": apperr.PathAmbiguous, "/secret": apperr.AccessDenied, "/x/%2e%2e/secret": apperr.PathAmbiguous,
	} {
		status, text, head := get(t, door, "/v1.0/invoke/app/method"+path)
		if status != 403 || head.Get("Pillion-Error") != string(want) || !strings.Contains(text, "access control policy has denied access") {
			t.Errorf("%s: %d %s, want %s", path, status, text, want)
		}
	}
	status, text, _ = get(t, door, "/v1.0/invoke/app/method/a%20b/c?secret=1", "User-Agent", "test")
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	const line = `msg="HTTP API Called" app_id=app code=200 duration=`
	said := r.awaitNotice(`a b/c"`).Text
	for _, want := range []string{
		`method="GET /v1.0/invoke/app/method/a b/c"`, "size=" + strconv.Itoa(len(text)), "target=app", "useragent=test", "level=info ", " type=log ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%s lacks %s", said, want)
		}
	}
	r.awaitNotice(`msg="call received" app_id=app caller=spiffe://public/ns/default/app code=200`)
	r.awaitNotice(`msg="call answered" app_id=app code=200`)
	r.await("two lines for two calls", func() bool {
		lines := 0
		for _, n := range r.notices() {
			if strings.Contains(n.Text, line) {
				lines++
			}
			if strings.Contains(n.Text, "secret=1") {
				t.Errorf("a query is logged: %s", n.Text)
			}
		}
		return lines == 2
	})
}

// What protects the app and its sidecar stays here; what a resource says goes.
func TestCallsThatLeaveTheMeshTakeNoTokenAlong(t *testing.T) {
	t.Parallel()
	out, _ := told(t)
	resources := t.TempDir()
	resource := "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata:\n  name: pay\nspec:\n  baseUrl: " + out.URL + "/v1\n" +
		"  headers:\n  - name: X-Key\n    envRef: PAY_KEY\nscopes:\n- app\n"
	if err := os.WriteFile(filepath.Join(resources, "pay.yaml"), []byte(resource), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	r := p.start("", config.Sidecar{
		AppID: "app", AppToken: "secret-app", APIToken: "secret-api", ResourcesPaths: []string{resources}, APILogging: true,
	}, "PAY_KEY=k1")
	r.awaitNotice("sidecar is up")
	door := p.entries()[0].HTTPPort
	escaped := url.QueryEscape(out.URL)
	for path, want := range map[string]string{
		"/v1.0/invoke/" + out.URL + "/method/a%2Fb?x=1": "GET /a%2Fb?x=1\n",
		"/v1.0/invoke/" + escaped + "/method/c//d":      "GET /c//d\n",
		"/v1.0/invoke/pay/method/e":                     "GET /v1/e\n",
	} {
		status, text, _ := get(t, door, path, "dapr-api-token", "secret-api", "Dapr-Caller-App-Id", "secret", "X-Forwarded-For", "secret", "X-Own", "1")
		if status != 200 || !strings.HasPrefix(text, want) || !strings.Contains(text, "X-Own: 1") {
			t.Errorf("%s: %d %s, want %q", path, status, text, want)
		}
		if lower := strings.ToLower(text); strings.Contains(lower, "secret") || strings.Contains(lower, "dapr-") || strings.Contains(lower, "forwarded") {
			t.Errorf("%s: something of ours left:\n%s", path, text)
		}
		if strings.Contains(path, "/pay/") != strings.Contains(text, "X-Key: k1") {
			t.Errorf("%s: the resource's field:\n%s", path, text)
		}
	}
	status, _, head := get(t, door, "/", "dapr-app-id", out.URL, "dapr-api-token", "secret-api", "X-Redirect", "/there")
	if status != 302 || head.Get("Location") != "/there" {
		t.Errorf("a raw target's redirect: %d %v", status, head)
	}
	status, text, _ := get(t, door, "/v1.0/invoke/pay/method/x", "dapr-api-token", "secret-api", "X-Redirect", "/there")
	if status != 200 || !strings.HasPrefix(text, "GET /there\n") {
		t.Errorf("a resource's redirect: %d %s", status, text)
	}
	r.awaitNotice(`target=pay type=log`)
	out.Close()
	within.Until(t, "a call that meets no connection from before", func() bool {
		status, text, head = get(t, door, "/v1.0/invoke/pay/method/x", "dapr-api-token", "secret-api")
		return head.Get("Pillion-Error") != string(apperr.PeerGone)
	})
	if status != 500 || head.Get("Pillion-Hop") != "network" || !strings.Contains(text, "failed to invoke, id: pay, err: "+strings.TrimPrefix(out.URL, "http://")+" could not be called") ||
		!strings.Contains(text, "connection refused") {
		t.Errorf("a host that is gone: %d %v %s", status, head, text)
	}
}
