package httpapi

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode"

	"github.com/pillion-dev/pillion/runtime/apilist"
)

// What is taken for a path of the API is one, however it is written, and what
// the app is to get is never among it.
func FuzzAPIPath(f *testing.F) {
	for _, target := range []string{
		"/v1.0/state/s/k", "//v1.0//state/s//k/?a=/v1.0/../x", "/v1.0/state/../metadata/", "/v1.0-alpha1/state/s/query",
		"/v1.0/invoke/app/method/v1.0/state/s/k", "//v1.0///invoke/x", "/v1.0/invoke", "/v1.0/./invoke/app/method/x",
		"/v1.0/state/a%2Fb/c%", "http://h/v1.0/healthz", "/v1.0", "/v1.0/", "*", "", "/v1.0/state/..", "/v1.0/../../state/x",
		"/v1.0/publish/bulk/a/b/c", "/v1.0x/state/s/k",
	} {
		f.Add(target, "GET")
	}
	offers := newTable(endpoints, apilist.List{})
	f.Fuzz(func(t *testing.T, target, verb string) {
		found := apiPath(target)
		if found == "" {
			return
		}
		if "/"+found != path.Clean("/"+found) || !strings.HasPrefix(found, versionPrefix) || strings.ContainsAny(found, "?") {
			t.Errorf("%q: %q is no clean path of the API", target, found)
		}
		if again := apiPath("/" + found); again != found {
			t.Errorf("%q: %q, and that is %q", target, found, again)
		}
		if _, _, invoked := invokePath(originForm(target)); invoked {
			t.Errorf("%q is a call and %q at once", target, found)
		}
		r, values, verbs := offers.find(verb, found)
		if r == nil {
			return
		}
		if len(verbs) > 0 || strings.Count(r.path, "{")+strings.Count(r.path, "*") != len(values) {
			t.Errorf("%s %q: %s with %q, %q", verb, target, r.path, values, verbs)
		}
		for _, value := range values {
			if value == "" && !strings.Contains(found, "%") {
				t.Errorf("%s %q: an empty parameter of %s", verb, target, r.path)
			}
		}
		if _, err := url.ParseRequestURI("/" + found); err != nil && !strings.ContainsFunc(found, unicode.IsControl) {
			t.Errorf("%s %q: %v", verb, target, err)
		}
	})
}
