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
	c := config.Component{Name: "m", Type: "middleware.http." + kind, At: "m.yaml:1", Metadata: map[string]string{}}
	for i := 0; i < len(metadata); i += 2 {
		c.Metadata[metadata[i]] = metadata[i+1]
	}
	return c
}

func handlers(components ...config.Component) []config.Handler {
	var all []config.Handler
	for _, c := range components {
		all = append(all, config.Handler{Name: c.Name, Type: c.Type, At: "config.yaml:7"})
	}
	return all
}

func pipeline(t *testing.T, components ...config.Component) http.Handler {
	t.Helper()
	p, notes, err := middleware.New(handlers(components...), components)
	if err != nil || len(notes) > 0 {
		t.Fatal(notes, err)
	}
	return p(echo)
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

func TestWhatAPipelineCannotDoIsSaid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about      string
		component  config.Component
		there      bool
		note, fail string
		status     int // 0: no pipeline is left
	}{
		{"one that is not there", component("uppercase"), false, "there is no component m of type middleware.http.uppercase", "", 0},
		{"one that only adds", component("wasm"), true, "config.yaml:7: httpPipeline: this version has no middleware.http.wasm: requests pass without m", "", 0},
		{"a guard", component("oauth2"), true, "requests that would have to pass m are refused", "", 501},
		{"a guard without its component", component("Bearer"), false, "are refused", "", 501},
		{"a bad rule", component("routerchecker", "rule", "("), true, "", "m.yaml:1: Component m: metadata rule: ", 0},
		{"bad routes", component("routeralias", "routes", "["), true, "", "metadata routes", 0},
		{"a bad path", component("routeralias", "/a/{b:(}", "/c"), true, "", `metadata routes: "/a/{b:(}" is no path`, 0},
		{"a rate of nothing", component("ratelimit", "maxRequestsPerSecond", "0"), true, "", "maxRequestsPerSecond must be a positive value", 0},
		{"no rate", component("ratelimit", "maxRequestsPerSecond", "NaN"), true, "", "maxRequestsPerSecond must be a positive value", 0},
	} {
		var components []config.Component
		if c.there {
			components = append(components, c.component)
		}
		p, notes, err := middleware.New(handlers(c.component), components)
		if (err != nil) != (c.fail != "") || err != nil && !strings.Contains(err.Error(), c.fail) {
			t.Errorf("%s: %v, want %q", c.about, err, c.fail)
		}
		if (len(notes) == 1) != (c.note != "") || len(notes) == 1 && !strings.Contains(notes[0], c.note) {
			t.Errorf("%s: %q, want %q", c.about, notes, c.note)
		}
		if (p == nil) != (c.status == 0) || p != nil && ask(p(echo), "/", "").Code != c.status {
			t.Errorf("%s: a pipeline: %v, want one that answers %d", c.about, p != nil, c.status)
		}
	}
}
