package access_test

import (
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/access"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func policy(t *testing.T, text string) *access.Policy {
	t.Helper()
	p, err := access.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outcome is "" for a call that is allowed, and the reason otherwise.
func outcome(t *testing.T, p *access.Policy, caller, verb, path string) apperr.Reason {
	t.Helper()
	rules := access.New(id(t, "public", "default", "callee"))
	rules.Enforce(p)
	err := rules.Allow(&invoke.Call{Verb: verb, Path: path, Caller: id(t, "public", "default", caller)})
	if err == nil {
		return ""
	}
	e := apperr.From(err)
	if e.Reached != apperr.ReachedNo || e.At() != apperr.HopAccess || e.Reason.HTTPStatus() != 403 ||
		!strings.HasPrefix(e.Message(), "access control policy has denied access to id: spiffe://public/ns/default/"+caller) {
		t.Errorf("%s %s by %s: %+v", verb, path, caller, e)
	}
	return e.Reason
}

func TestPatternsMatchAsDaprsDo(t *testing.T) {
	t.Parallel()
	for pattern, paths := range map[string]map[string]bool{
		"/a":    {"/a": true, "/a/b/c": true, "/A": true, "/a/": true, "/ab": false, "/b": false, "/": false},
		"/a/*":  {"/a": true, "/a/b": true, "/a/b/c": false, "/ab": false},
		"/a/**": {"/a": true, "/a/b": true, "/a/b/c": true, "/b": false},
		"/a/x*": {"/a/x": true, "/a/xyz/q": true, "/a/y": false, "/a": false},
		"/*":    {"/": true, "/a": true, "/a/b": false},
		"/**":   {"/": true, "/a": true, "/a/b": true},
		"/":     {"/": true, "/a": false},
		"/ü":    {"/%C3%BC": true, "/ü": true, "/u": false},
	} {
		p := policy(t, "allow * "+pattern+"; default deny")
		for path, want := range paths {
			if got := outcome(t, p, "caller", "GET", path); (got == "") != want {
				t.Errorf("%s on %s: %q, want allowed %v", pattern, path, got, want)
			}
		}
	}
}

func TestTheFirstRuleThatIsForACallDecides(t *testing.T) {
	t.Parallel()
	p := policy(t, "deny caller /admin\nallow caller /admin/health GET,HEAD\nallow caller /tasks get,post; allow other; default deny")
	for _, c := range []struct {
		caller, verb, path string
		want               apperr.Reason
	}{
		{"caller", "GET", "/admin/health", apperr.AccessDenied}, // the first one
		{"caller", "GET", "/tasks/1?x=/admin", ""},
		{"caller", "post", "/tasks", ""},
		{"caller", "PUT", "/tasks", apperr.AccessDenied},
		{"caller", "GET", "/else", apperr.AccessDenied},
		{"other", "DELETE", "/admin", ""},
		{"third", "GET", "/tasks", apperr.AccessDenied},
	} {
		if got := outcome(t, p, c.caller, c.verb, c.path); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if got := outcome(t, policy(t, "deny * /admin"), "caller", "GET", "/x"); got != "" {
		t.Errorf("without a default the rest is allowed: %q", got)
	}
	if got := outcome(t, policy(t, ""), "caller", "GET", "/a//b"); got != apperr.PathAmbiguous {
		t.Errorf("a policy without rules is in force: %q", got)
	}
}

// Whatever the rules say: a path that means different things to different
// programs is refused while there are any, and passes while there are none.
func TestAPathThatCouldDodgeARuleIsRefusedOnlyWhileThereAreRules(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/tasks%2F..%2Fadmin", "/tasks/../admin", "//admin", "/tasks;/x", "/%2561dmin", "/admin%00", `/tasks\..\admin`} {
		for name, p := range map[string]*access.Policy{
			"deny":  policy(t, "deny * /admin"),
			"allow": policy(t, "allow * /tasks; default deny"),
			"all":   policy(t, "allow *"),
		} {
			if got := outcome(t, p, "caller", "GET", path); got != apperr.PathAmbiguous {
				t.Errorf("%s by %s: %q", path, name, got)
			}
		}
		if got := outcome(t, nil, "caller", "GET", path); got != "" {
			t.Errorf("%s without a policy: %q", path, got)
		}
	}
	rules := access.New(id(t, "public", "default", "callee"))
	rules.Enforce(policy(t, "deny * /admin"))
	e := apperr.From(rules.Allow(&invoke.Call{Verb: "GET", Path: "/tasks/%2e%2e/admin", Caller: id(t, "public", "default", "caller")}))
	for _, want := range []string{"dot segment", `call it as "/admin"`} {
		if !strings.Contains(e.Message(), want) {
			t.Errorf("%q lacks %q", e.Message(), want)
		}
	}
}

func TestADenialSaysWhichRuleAndHowToAllow(t *testing.T) {
	t.Parallel()
	rules := access.New(id(t, "public", "default", "callee"))
	call := &invoke.Call{Verb: "PUT", Path: "/tasks/1", Caller: id(t, "public", "default", "caller")}
	rules.Enforce(policy(t, "allow * /x; deny caller /tasks PUT,POST"))
	if e := apperr.From(rules.Allow(call)); !strings.Contains(e.Message(), "its rule 2 says: deny caller /tasks PUT,POST") {
		t.Error(e.Message())
	}
	rules.Enforce(policy(t, "default deny"))
	if e := apperr.From(rules.Allow(call)); !strings.Contains(e.Message(), "a rule at callee would: allow caller /tasks/1 PUT") {
		t.Error(e.Message())
	}
	rules.Enforce(nil)
	if err := rules.Allow(call); err != nil {
		t.Error(err)
	}
}

func TestRulesThatCannotBeReadAreNamed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"permit x /a", "allow", "allow x a", "allow x /a GET more", "default", "default maybe", "allow x /a\nno"} {
		if _, err := access.ParsePolicy(text); err == nil || !strings.Contains(err.Error(), "the access rule") {
			t.Errorf("ParsePolicy(%q): %v", text, err)
		}
	}
}

func TestALoadedRuleCostsNoAllocation(t *testing.T) { // not parallel: it counts allocations
	rules := access.New(id(t, "public", "default", "callee"))
	rules.Enforce(policy(t, "allow caller /tasks/** GET,POST; default deny"))
	call := &invoke.Call{Verb: "POST", Path: "/tasks/17/notify?x=1", Caller: id(t, "public", "default", "caller")}
	n := testing.AllocsPerRun(100, func() {
		if err := rules.Allow(call); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
