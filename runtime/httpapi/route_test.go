package httpapi_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
)

func TestTheTargetIsFoundInItsForms(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	basic := func(s string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(s))
	}
	for name, c := range map[string]struct {
		target string
		lines  []string
		app    string // "" for 404
		ns     string
		path   string
	}{
		"path":                        {target: "/v1.0/invoke/app/method/a/b?x=1", app: "app", path: "/a/b?x=1"},
		"slashes between the parts":   {target: "//v1.0//invoke///app/method//x", app: "app", path: "/x"},
		"slashes behind method":       {target: "/v1.0/invoke/app/method///orders//1/", app: "app", path: "/orders//1/"},
		"no method":                   {target: "/v1.0/invoke/app"},
		"method without slash":        {target: "/v1.0/invoke/app/method"},
		"empty method":                {target: "/v1.0/invoke/app/method/", app: "app", path: "/"},
		"empty method and query":      {target: "/v1.0/invoke/app/method/?q", app: "app", path: "/?q"},
		"no id":                       {target: "/v1.0/invoke/"},
		"empty id":                    {target: "/v1.0/invoke//method/x"},
		"first method splits":         {target: "/v1.0/invoke/app/method/a/method/b", app: "app", path: "/a/method/b"},
		"namespace":                   {target: "/v1.0/invoke/app.ns/method/x", app: "app", ns: "ns", path: "/x"},
		"escaped id":                  {target: "/v1.0/invoke/a%70p/method/x", app: "app", path: "/x"},
		"raw path":                    {target: "/v1.0/invoke/app/method/c/%2Fd/%41/../e;v=1?q=%2F", app: "app", path: "/c/%2Fd/%41/../e;v=1?q=%2F"},
		"question mark in query":      {target: "/v1.0/invoke/app/method/x?a=/method/b?c", app: "app", path: "/x?a=/method/b?c"},
		"method in the query only":    {target: "/v1.0/invoke/app?x=/method/y"},
		"other route":                 {target: "/v1.0/publish/a/b"},
		"header":                      {target: "//any/%2Fpath/?q", lines: []string{"dapr-app-id: app"}, app: "app", path: "//any/%2Fpath/?q"},
		"header before path":          {target: "/v1.0/invoke/b/method/x", lines: []string{"Dapr-App-Id: a"}, app: "a", path: "/v1.0/invoke/b/method/x"},
		"basic":                       {target: "/orders", lines: []string{basic("DAPR-app-id:app")}, app: "app", path: "/orders"},
		"basic with another user":     {target: "/orders", lines: []string{basic("joe:app")}},
		"basic with three parts":      {target: "/orders", lines: []string{basic("dapr-app-id:http://x")}},
		"host name":                   {target: "/orders?x", lines: []string{"Host: app.localhost:3500"}, app: "app", path: "/orders?x"},
		"host name with namespace":    {target: "/", lines: []string{"Host: app.ns.localhost"}, app: "app", ns: "ns", path: "/"},
		"host name after the path":    {target: "/v1.0/invoke/b/method/x", lines: []string{"Host: a.localhost"}, app: "b", path: "/x"},
		"plain localhost":             {target: "/orders", lines: []string{"Host: localhost:3500"}},
		"absolute form":               {target: "http://app.localhost/orders?x", lines: []string{"Host: app.localhost"}, app: "app", path: "/orders?x"},
		"absolute form without path":  {target: "http://app.localhost?x", lines: []string{"Host: app.localhost"}, app: "app", path: "/?x"},
		"absolute form of the invoke": {target: "http://127.0.0.1/v1.0/invoke/app/method/x", app: "app", path: "/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := "GET " + c.target + " HTTP/1.1\r\n"
			if !strings.Contains(strings.Join(c.lines, ""), "Host:") {
				text += "Host: localhost\r\n"
			}
			for _, line := range c.lines {
				text += line + "\r\n"
			}
			resp, body := ask(t, addr, text+"\r\n")
			if c.app == "" {
				if resp.StatusCode != 404 || !strings.Contains(body, `"errorCode":"ERR_DIRECT_INVOKE"`) ||
					!strings.Contains(body, "failed getting app id either from the URL path or the header dapr-app-id") {
					t.Errorf("%s: %d %s, want Dapr's 404", c.target, resp.StatusCode, body)
				}
				return
			}
			if resp.StatusCode != 200 {
				t.Fatalf("%s: %d %s", c.target, resp.StatusCode, body)
			}
			got := reflected(t, body)
			if got.App != c.app || got.Namespace != c.ns || got.Path != c.path {
				t.Errorf("%s: app %q ns %q path %q, want %q %q %q", c.target, got.App, got.Namespace, got.Path, c.app, c.ns, c.path)
			}
			if got.Fields.Has("dapr-app-id") {
				t.Error("dapr-app-id is forwarded")
			}
		})
	}
}

func TestEveryVerbButConnectPasses(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	for _, verb := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "QUERY"} {
		resp, body := ask(t, addr, get(verb, "/v1.0/invoke/app/method/x"))
		if got := reflected(t, body).Verb; resp.StatusCode != 200 || got != verb {
			t.Errorf("%s arrived as %q, status %d", verb, got, resp.StatusCode)
		}
	}
	resp, body := ask(t, addr, "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp.StatusCode != 500 || !strings.Contains(body, "invalid HTTP verb") {
		t.Errorf("CONNECT: %d %s", resp.StatusCode, body)
	}
}

func TestBadTargetsAreNamed(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	for id, want := range map[string]string{
		"a.b.c":              "failed to invoke, id: a.b.c, err: invalid app id a.b.c",
		"a%20b":              "invalid app id a b",
		"http://host:0":      "invalid app id http://host:0",
		"https%3A%2F%2Fb%3F": "invalid app id https://b?",
	} {
		resp, body := ask(t, addr, get("GET", "/v1.0/invoke/"+id+"/method/x"))
		if resp.StatusCode != 500 || !strings.Contains(body, want) || resp.Header.Get("Pillion-Error") != "APP_ID_INVALID" {
			t.Errorf("%s: %d %v %s, want %q", id, resp.StatusCode, resp.Header, body, want)
		}
	}
}
