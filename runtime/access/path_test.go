package access_test

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pillion-dev/pillion/runtime/access"
)

func TestPathsThatMeanTheSameToEverybody(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/":                             "/",
		"/a":                            "/a",
		"/a/":                           "/a",
		"/a/b-c_d~e.f/g":                "/a/b-c_d~e.f/g",
		"/a?b=/../c%2F":                 "/a",
		"/?":                            "/",
		"/pkg.Service/Method":           "/pkg.Service/Method",
		"/.well-known/x":                "/.well-known/x",
		"/a/...":                        "/a/...",
		"/a..b/c.":                      "/a..b/c.",
		"/a%20b":                        "/a b",
		"/100%25":                       "/100%",
		"/%C3%BC":                       "/ü",
		"/ü":                            "/ü",
		"/%61dmin":                      "/admin",
		"/a/b:c@d!$&'()*+,=":            "/a/b:c@d!$&'()*+,=",
		"/a%3Ab":                        "/a:b",
		"*":                             "*",
		"/" + strings.Repeat("x", 8192): "/" + strings.Repeat("x", 8192),
	} {
		if got, doubt := access.CleanPath(target); got != want || doubt != "" {
			t.Errorf("CleanPath(%q) = %q, %q, want %q", target, got, doubt, want)
		}
	}
}

func TestPathsThatCouldDodgeARule(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/a%2Fb":         "/a/b",
		"/a%2fb":         "/a/b",
		"/x/..%2Fadmin":  "/admin",
		"/a/../b":        "/b",
		"/a/./b":         "/a/b",
		"/a/%2e%2e/b":    "/b",
		"/a/.%2E/b":      "/b",
		"/a/%2e/b":       "/a/b",
		"/..":            "/",
		"/../../etc":     "/etc",
		"/a//b":          "/a/b",
		"//a":            "/a",
		"/a//":           "/a",
		"/%61%2564min":   "/a%64min", // encoded twice
		"/%252e%252e/b":  "/%2e%2e/b",
		"/a%00":          "/a\x00",
		"/a%0d%0ab":      "/a\r\nb",
		"/a\tb":          "/a\tb",
		"/a%7f":          "/a\x7f",
		`/a\b`:           "/a/b",
		`/x\..\admin`:    "/admin",
		"/a%5Cb":         "/a/b",
		"/a%5c..%5cb":    "/b",
		"/admin;x=1":     "/admin",
		"/x/..;/admin":   "/admin",
		"/admin%3Bx":     "/admin",
		"/admin%3Fx":     "/admin?x",
		"/admin%23x":     "/admin#x",
		"/admin#x":       "/admin#x",
		"/%c0%ae%c0%ae/": "/\xc0\xae\xc0\xae", // overlong dots
		"/%ff":           "/\xff",
		"/%zz":           "/%zz",
		"/a%":            "/a%",
		"/a%4":           "/a%4",
		"/a%u002e":       "/a%u002e",
		"":               "/",
		"a/b":            "/a/b",
		"?x":             "/",
	} {
		got, doubt := access.CleanPath(target)
		if doubt == "" || got != want {
			t.Errorf("CleanPath(%q) = %q, %q, want %q and a doubt", target, got, doubt, want)
		}
	}
}

// What several programs make of a path, none of them ours. Those that agree
// with the raw bytes but for their decoding are the ones rules are written for.
var readers = map[string]func(raw string) string{
	"decodes, then cleans": func(raw string) string {
		plain, err := url.PathUnescape(raw)
		if err != nil {
			plain = raw
		}
		return path.Clean("/" + plain)
	},
	"cleans, then decodes": func(raw string) string {
		plain, err := url.PathUnescape(path.Clean("/" + raw))
		if err != nil {
			return raw
		}
		return plain
	},
	"decodes twice": func(raw string) string {
		for range 2 {
			if plain, err := url.PathUnescape(raw); err == nil {
				raw = plain
			}
		}
		return path.Clean("/" + raw)
	},
	"cuts parameters off": func(raw string) string {
		var kept []string
		for segment := range strings.SplitSeq(raw, "/") {
			segment, _, _ = strings.Cut(segment, ";")
			kept = append(kept, segment)
		}
		plain, err := url.PathUnescape(strings.Join(kept, "/"))
		if err != nil {
			plain = raw
		}
		return path.Clean("/" + plain)
	},
	"takes backslashes for slashes": func(raw string) string {
		plain, err := url.PathUnescape(raw)
		if err != nil {
			plain = raw
		}
		return path.Clean("/" + strings.ReplaceAll(plain, `\`, "/"))
	},
	"ends at a NUL": func(raw string) string {
		plain, err := url.PathUnescape(raw)
		if err != nil {
			plain = raw
		}
		plain, _, _ = strings.Cut(plain, "\x00")
		return path.Clean("/" + plain)
	},
}

// A path without a doubt is the same to all of them, and clean.
func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{
		"/a/b", "/a%2Fb", "/a/../b", "/a/%2e%2e/b", "/%252e%252e/b", "//a", "/a;x/b", `/a\b`, "/%00", "/a%5C..", "/ü", "/%c0%af",
		"/%", "/a b", "/a/.", "/a/..", "*", "", "/?%2F", "/.a", "/a%3Fb", "/100%25/x", "/%2525",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got, doubt := access.CleanPath(target)
		if target == "*" || strings.HasPrefix(target, "*?") {
			return
		}
		if !strings.HasPrefix(got, "/") || strings.Contains(got, "//") || len(got) > 1 && strings.HasSuffix(got, "/") {
			t.Fatalf("CleanPath(%q) = %q is not clean", target, got)
		}
		for segment := range strings.SplitSeq(got, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("CleanPath(%q) = %q has a dot segment", target, got)
			}
		}
		if doubt != "" {
			return
		}
		raw, _, _ := strings.Cut(target, "?")
		if !utf8.ValidString(got) {
			t.Fatalf("CleanPath(%q) = %q is not UTF-8", target, got)
		}
		for name, read := range readers {
			if other := read(raw); other != got {
				t.Fatalf("CleanPath(%q) = %q without a doubt, but what %s gets %q", target, got, name, other)
			}
		}
	})
}

func TestAPlainPathCostsNothing(t *testing.T) { // not parallel: it counts allocations
	if n := testing.AllocsPerRun(100, func() { access.CleanPath("/tasks/17/notify?x=1") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
