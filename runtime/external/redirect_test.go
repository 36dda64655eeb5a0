package external_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/external"
)

// redirecting answers /hop/n/status with that status and sends on to n-1, and
// at 0 says what came.
func redirecting(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		n, _ := strconv.Atoi(parts[2])
		status, _ := strconv.Atoi(parts[3])
		data, _ := io.ReadAll(r.Body)
		if n == 0 {
			_, _ = fmt.Fprintf(w, "%s %q %s %s", r.Method, data, r.Header.Get("Content-Type"), r.Header.Get("X-Key"))
			return
		}
		http.Redirect(w, r, fmt.Sprintf("../%d/%d", n-1, status), status)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRedirectsOfRawTargetsAreTheCallers(t *testing.T) {
	t.Parallel()
	s := redirecting(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		answer, _ := serve(t, newHosts(t, external.Options{}), call(t, s.URL, "GET", fmt.Sprintf("/hop/1/%d", status), ""))
		if answer.Status != status || !strings.HasSuffix(answer.Fields.Get("Location"), fmt.Sprintf("/0/%d", status)) {
			t.Errorf("%d: %d %v", status, answer.Status, answer.Fields)
		}
	}
}

func TestRedirectsOfResourcesAreFollowed(t *testing.T) {
	t.Parallel()
	s := redirecting(t)
	e := endpoint("pay", s.URL)
	e.Headers = []config.EndpointHeader{{Name: "X-Key", Value: "key"}}
	h := named(t, e)
	for _, c := range []struct {
		verb   string
		status int
		hops   int
		want   string
	}{
		{"GET", 302, 10, `GET "" text/x key`},
		{"POST", 301, 1, `GET ""  key`},
		{"PUT", 303, 2, `GET ""  key`},
		{"POST", 307, 10, `POST "body" text/x key`},
		{"PUT", 308, 3, `PUT "body" text/x key`},
	} {
		body := "body"
		if c.verb == "GET" {
			body = ""
		}
		one := call(t, "pay", c.verb, fmt.Sprintf("/hop/%d/%d", c.hops, c.status), body)
		one.Fields = fields("Content-Type", "text/x")
		if _, got := serve(t, h, one); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	got := refused(t, h, call(t, "pay", "GET", "/hop/11/302", ""))
	if got.Reason != apperr.ProtocolError || got.At() != apperr.HopPeer || !strings.Contains(got.Message(), "stopped after 10") {
		t.Errorf("%+v", got)
	}
}

// A body that cannot be sent again is not: the caller gets the redirect.
func TestAStreamedBodyIsNotRedirected(t *testing.T) {
	t.Parallel()
	s := redirecting(t)
	h := named(t, endpoint("pay", s.URL))
	answer, _ := serve(t, h, streamed(call(t, "pay", "POST", "/hop/1/307", "body"), nil))
	if answer.Status != 307 {
		t.Errorf("%d", answer.Status)
	}
	if _, got := serve(t, h, streamed(call(t, "pay", "POST", "/hop/1/303", "body"), nil)); got != `GET ""  ` {
		t.Errorf("303: %s", got)
	}
}

// What was meant for one host does not follow the call to another.
func TestCredentialsDoNotFollowToAnotherHost(t *testing.T) {
	t.Parallel()
	other, heads := wire(t, func(int, string) string { return okAnswer })
	first := httptest.NewServer(handler(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" || r.Header.Get("X-Key") == "" {
			t.Errorf("the host itself got %v", r.Header)
		}
		http.Redirect(w, r, other+"/there?x=1", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(first.Close)
	e := endpoint("pay", first.URL)
	e.Headers = []config.EndpointHeader{{Name: "X-Key", Value: "secret"}}
	c := call(t, "pay", "POST", "/", "body")
	c.Fields = fields("Authorization", "secret", "Cookie", "secret", "X-Plain", "1")
	serve(t, named(t, e), c)
	head := within.Receive(t, heads)
	if strings.Contains(head, "secret") || !strings.HasPrefix(head, "POST /there?x=1 HTTP/1.1") || !strings.Contains(head, "X-Plain: 1") {
		t.Errorf("sent\n%s", head)
	}
}
