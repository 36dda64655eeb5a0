package external_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/external"
)

func TestTheRawPathReachesTheHostBehindItsBase(t *testing.T) {
	t.Parallel()
	base, heads := wire(t, func(int, string) string { return okAnswer })
	for _, c := range []struct{ id, path, want string }{
		{base, "/", "GET / HTTP/1.1"},
		{base, "/a%2Fb//c/../d%zz?x=%2F&y", "GET /a%2Fb//c/../d%zz?x=%2F&y HTTP/1.1"},
		{base, "//a//", "GET //a// HTTP/1.1"},
		{base, "/a?", "GET /a? HTTP/1.1"},
		{base, "/ü|^", "GET /ü|^ HTTP/1.1"},
		{base + "/v1", "/x", "GET /v1/x HTTP/1.1"},
		{base + "/v1/", "/x", "GET /v1//x HTTP/1.1"}, // as Dapr joins
		{base + "/", "/x", "GET //x HTTP/1.1"},
		{base, "*", "GET * HTTP/1.1"},
	} {
		_, body := serve(t, newHosts(t, external.Options{}), call(t, c.id, "GET", c.path, ""))
		line, _, _ := strings.Cut(within.Receive(t, heads), "\r\n")
		if line != c.want || body != "ok" {
			t.Errorf("%s %s: %q, want %q; answer %q", c.id, c.path, line, c.want, body)
		}
	}
}

// What is the mesh's, the app's or another host's stays here.
func TestNothingOfOursLeaves(t *testing.T) {
	t.Parallel()
	base, heads := wire(t, func(int, string) string { return okAnswer })
	e := endpoint("pay", base)
	e.Headers = []config.EndpointHeader{{Name: "x-key", Value: "k1"}, {Name: "Accept", Value: "text/plain"}}
	for id, own := range map[string][2]string{
		base: {"Accept: */*\r\n", ""}, "pay": {"Accept: text/plain\r\n", "X-Key: k1\r\n"},
	} {
		c := call(t, id, "POST", "/x", "body")
		c.Host = "localhost:3500"
		c.Fields = fields("dapr-api-token", "secret", "Dapr-App-Id", "secret", "dapr-caller-app-id", "secret", "Dapr-Caller-Namespace", "secret",
			"Dapr-Callee-App-Id", "secret", "Forwarded", "for=secret", "X-Forwarded-For", "secret", "x-forwarded-host", "secret",
			"Pillion-Timeout", "secret", "Proxy-Authorization", "secret", "Te", "secret", "Host", "secret", "Expect", "secret",
			"Authorization", "Bearer app's own", "cookie", "a=b", "Accept", "*/*", "user-agent", "agent", "X-Twice", "1", "x-twice", "2")
		serve(t, named(t, e), c)
		head := within.Receive(t, heads)
		if strings.Contains(head, "secret") {
			t.Errorf("%s: something leaked:\n%s", id, head)
		}
		want := "POST /x HTTP/1.1\r\nHost: " + strings.TrimPrefix(base, "http://") + "\r\nUser-Agent: agent\r\nContent-Length: 4\r\n" +
			own[0] + "Authorization: Bearer app's own\r\nCookie: a=b\r\n" + own[1] + "X-Twice: 1\r\nX-Twice: 2\r\n\r\n"
		if head != want {
			t.Errorf("%s: sent\n%s\nwant\n%s", id, head, want)
		}
	}
	serve(t, newHosts(t, external.Options{}), call(t, base, "GET", "/", ""))
	if head := within.Receive(t, heads); head != "GET / HTTP/1.1\r\nHost: "+strings.TrimPrefix(base, "http://")+"\r\n\r\n" {
		t.Errorf("net/http added something:\n%s", head)
	}
}

func TestHostsAreVerified(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(handler(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secure")) }))
	t.Cleanup(s.Close)
	pool, root := rootOf(s)
	trusting := newHosts(t, external.Options{Roots: pool})
	if _, body := serve(t, trusting, call(t, s.URL, "GET", "/", "")); body != "secure" {
		t.Errorf("answer %q", body)
	}
	e := endpoint("pay", s.URL)
	e.TLS.RootCA = root
	if _, body := serve(t, named(t, e), call(t, "pay", "GET", "/", "")); body != "secure" {
		t.Errorf("answer %q", body)
	}
	for name, c := range map[string]struct {
		hosts *external.Hosts
		id    string
	}{
		"by nobody":            {newHosts(t, external.Options{}), s.URL},
		"by no resource":       {named(t, endpoint("pay", s.URL)), "pay"},
		"under another name":   {trusting, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)},
		"a resource's, no url": {named(t, e), s.URL},
	} {
		got := refused(t, c.hosts, call(t, c.id, "POST", "/", "x"))
		if got.Reason != apperr.PeerNotTrusted || got.At() != apperr.HopTLS || got.Reached != apperr.ReachedNo || !strings.Contains(got.Message(), "certificate is not trusted") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAResourceShowsItsCertificate(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(handler(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.TLS.PeerCertificates[0].Subject.CommonName))
	}))
	s.TLS = requireAny()
	s.StartTLS()
	t.Cleanup(s.Close)
	_, root := rootOf(s)
	e := endpoint("pay", s.URL)
	e.TLS.RootCA, e.TLS.Renegotiation = root, "once"
	if got := refused(t, named(t, e), call(t, "pay", "GET", "/", "")); got.Reason != apperr.PeerNotTrusted && got.Reason != apperr.PeerGone {
		t.Errorf("without a certificate: %+v", got)
	}
	e.TLS.Certificate, e.TLS.PrivateKey = selfSigned(t, "orders")
	if _, body := serve(t, named(t, e), call(t, "pay", "GET", "/", "")); body != "orders" {
		t.Errorf("the host saw %q", body)
	}
}

func TestResourcesThatCannotWorkAreNamed(t *testing.T) {
	t.Parallel()
	certificate, _ := selfSigned(t, "a")
	_, key := selfSigned(t, "b")
	for want, change := range map[string]func(*config.HTTPEndpoint){
		"by its name":           func(e *config.HTTPEndpoint) { e.Name = "a b" },
		"does not begin with":   func(e *config.HTTPEndpoint) { e.BaseURL = "ftp://x" },
		"credentials":           func(e *config.HTTPEndpoint) { e.BaseURL = "http://u:p@x" },
		"cannot be sent":        func(e *config.HTTPEndpoint) { e.Headers = []config.EndpointHeader{{Name: "a", Value: "b\r\nc"}} },
		"no certificate in PEM": func(e *config.HTTPEndpoint) { e.TLS.RootCA = "x" },
		"go together":           func(e *config.HTTPEndpoint) { e.TLS.Certificate = "x" },
		"does not match":        func(e *config.HTTPEndpoint) { e.TLS.Certificate, e.TLS.PrivateKey = certificate, key },
	} {
		e := endpoint("pay", "http://127.0.0.1:1")
		change(&e)
		_, err := external.New(external.Options{Endpoints: []config.HTTPEndpoint{e}})
		if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "test.yaml:1") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	e := endpoint("pay", "http://127.0.0.1:1")
	e.Unusable = "no stores"
	if got := refused(t, named(t, e), call(t, "pay", "GET", "/", "")); got.Reason != apperr.OwnConfig || !strings.Contains(got.Message(), "no stores") {
		t.Errorf("%+v", got)
	}
}

func TestReplacedEndpointsAreOthers(t *testing.T) {
	t.Parallel()
	one, _ := wire(t, func(int, string) string { return okAnswer })
	another, heads := wire(t, func(int, string) string { return okAnswer })
	h := named(t, endpoint("pay", one))
	moved := endpoint("pay", another)
	moved.Headers = []config.EndpointHeader{{Name: "X-Key", Value: "k2"}}
	if err := h.Replace([]config.HTTPEndpoint{moved, endpoint("bill", one)}); err != nil {
		t.Fatal(err)
	}
	serve(t, h, call(t, "pay", "GET", "/", ""))
	if head := within.Receive(t, heads); !strings.Contains(head, "X-Key: k2") {
		t.Errorf("the host got\n%s", head)
	}
	if !h.Knows("bill") {
		t.Error("a new endpoint is not known")
	}
	broken := endpoint("pay", "ftp://x")
	broken.At = "a.yaml:3"
	if err := h.Replace([]config.HTTPEndpoint{broken}); err == nil || !strings.Contains(err.Error(), "a.yaml:3") || !h.Knows("bill") {
		t.Errorf("a broken endpoint: %v, and the others are gone: %v", err, !h.Knows("bill"))
	}
	if err := h.Replace(nil); err != nil || h.Knows("pay") || h.Knows("bill") {
		t.Errorf("%v, and they are still known", err)
	}
}
