package middleware_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/middleware"
)

// echo says what it was asked.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "%s %s %s", r.RequestURI, r.URL.RequestURI(), body)
})

func component(kind string, metadata ...string) config.Component {
	c := config.Component{Name: "m", Type: "middleware.http." + kind, Metadata: map[string]string{}}
	for i := 0; i < len(metadata); i += 2 {
		c.Metadata[metadata[i]] = metadata[i+1]
	}
	return c
}

func pipeline(t *testing.T, components ...config.Component) http.Handler {
	t.Helper()
	var chain []middleware.Handler
	for _, c := range components {
		h, err := middleware.New(c)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, h)
	}
	return middleware.Chain(chain)(echo)
}

func ask(h http.Handler, target, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestARouteThatAnAliasStandsFor(t *testing.T) {
	t.Parallel()
	h := pipeline(t, component("routeralias", "routes", `{
		"/orders": "/v1.0/invoke/shop/method/orders",
		"/orders/{id}": "/v1.0/invoke/shop/method/order?by=id",
		"/orders/new": "/v1.0/invoke/shop/method/new",
		"/n/{n:[0-9]+}/{what}": "/v1.0/invoke/shop/method/a%2Fb"
	}`))
	legacy := pipeline(t, component("routeralias", "/a", "/b", "/c/{x}", "/d"))
	yaml := pipeline(t, component("routeralias", "routes", "/a: /b\n/c: /d\n"))
	for _, c := range []struct {
		h           http.Handler
		asked, want string
	}{
		{h, "/orders?x=%20", "/v1.0/invoke/shop/method/orders?x=%20"},
		{h, "/orders/7?x=1", "/v1.0/invoke/shop/method/order?by=id&id=7&x=1"},
		{h, "/orders/new", "/v1.0/invoke/shop/method/new"},
		{h, "/n/12/it", "/v1.0/invoke/shop/method/a%2Fb?n=12&what=it"},
		{h, "/n/x/it", "/n/x/it"},
		{h, "/orders/7/8", "/orders/7/8"},
		{h, "/orders/", "/orders/"},
		{legacy, "/a", "/b"},
		{legacy, "/c/1", "/d?x=1"},
		{yaml, "/c", "/d"},
	} {
		if got, want := ask(c.h, c.asked, "").Body.String(), c.want+" "+c.want+" "; got != want {
			t.Errorf("%s: %q, want %q", c.asked, got, want)
		}
	}
}

func TestARouteThatIsChecked(t *testing.T) {
	t.Parallel()
	h := pipeline(t, component("routerchecker", "rule", "^/v1.0/invoke/[a-z]+/method/"))
	if w := ask(h, "/v1.0/invoke/shop/method/x?y", ""); w.Code != 200 {
		t.Errorf("a path that matches: %d", w.Code)
	}
	w := ask(h, "/v1.0/invoke/9/method/x", "")
	if w.Code != 400 || w.Body.String() != "invalid router" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("one that does not: %d %s %v", w.Code, w.Body, w.Header())
	}
}

func TestUppercase(t *testing.T) {
	t.Parallel()
	for direction, want := range map[string]string{
		"": "/path /path BÄODY", "request": "/path /path BÄODY", "response": "/PATH /PATH BÄODY", "both": "/PATH /PATH BÄODY",
	} {
		body := "bÄody"
		if direction == "response" {
			body = "BÄODY"
		}
		if got := ask(pipeline(t, component("uppercase", "direction", direction)), "/path", body).Body.String(); got != want {
			t.Errorf("%s: %q, want %q", direction, got, want)
		}
	}
}

// The handlers stand in the order of the Configuration.
func TestTheOrderOfAPipeline(t *testing.T) {
	t.Parallel()
	alias, checker := component("routeralias", "/a", "/b"), component("routerchecker", "rule", "^/b$")
	alias.Name, checker.Name = "alias", "checker"
	if w := ask(pipeline(t, alias, checker), "/a", ""); w.Code != 200 {
		t.Errorf("alias, then check: %d", w.Code)
	}
	if w := ask(pipeline(t, checker, alias), "/a", ""); w.Code != 400 {
		t.Errorf("check, then alias: %d", w.Code)
	}
}

func TestMistakesInComponents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		component config.Component
		want      string
	}{
		{component("routerchecker", "rule", "("), "metadata rule: "},
		{component("routeralias", "routes", "["), "metadata routes: not JSON or YAML"},
		{component("routeralias", "/a/{b:(}", "/c"), `metadata routes: "/a/{b:(}" is no path`},
		{component("routeralias", "/a", ""), `metadata routes: "/a" is no path`},
		{component("ratelimit", "maxRequestsPerSecond", "0"), "maxRequestsPerSecond must be a positive value"},
		{component("ratelimit", "maxRequestsPerSecond", "NaN"), "maxRequestsPerSecond must be a positive value"},
	} {
		if _, err := middleware.New(c.component); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %q", c.component.Type, c.component.Metadata, err, c.want)
		}
	}
}

func TestWhatIsKnown(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]bool{"middleware.http.ratelimit": true, "Middleware.HTTP.Uppercase": true, "middleware.http.oauth2": false, "state.redis": false} {
		if middleware.Known(kind) != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
	if middleware.Chain(nil) != nil {
		t.Error("a chain of nothing")
	}
}
