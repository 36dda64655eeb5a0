package access_test

import (
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/access"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// controlled makes a policy of a Configuration's access control.
func controlled(t *testing.T, given config.AccessControl, http bool) (*access.Policy, []string) {
	t.Helper()
	p, doubts, err := access.FromConfiguration(given, http)
	if err != nil {
		t.Fatal(err)
	}
	return p, doubts
}

// of is a policy for caller, whose operations are in fours: name, methods,
// action, and where it stands.
func of(caller, action string, operations ...string) config.AccessPolicy {
	p := config.AccessPolicy{AppID: caller, TrustDomain: "public", Namespace: "default", DefaultAction: action, At: "c.yaml:1"}
	for i := 0; i < len(operations); i += 3 {
		p.Operations = append(p.Operations, config.AccessOperation{
			Name: operations[i], Verbs: strings.Fields(operations[i+1]), Action: operations[i+2], At: "c.yaml:" + operations[i],
		})
	}
	return p
}

// calls asks a policy about "VERB /path" by the app caller.
func calls(t *testing.T, p *access.Policy, who identity.ID, call string) error {
	t.Helper()
	rules := access.New(id(t, "public", "default", "callee"))
	rules.Enforce(p)
	verb, path, _ := strings.Cut(call, " ")
	return rules.Allow(&invoke.Call{Verb: verb, Path: path, Caller: who})
}

// What dapr-facts' table of patterns says.
func TestOperationsMatchAsDaprsTreeDoes(t *testing.T) {
	t.Parallel()
	for patterns, paths := range map[string]map[string]bool{
		"/a":        {"/a": true, "/a/b/c": true, "/A/B": true, "/a/": true, "/ab": false, "/": false},
		"a":         {"/a": true, "/b": false},
		"/a/*":      {"/a": true, "/a/b": true, "/a/b/c": false, "/ab": false},
		"/a/**":     {"/a": true, "/a/b": true, "/a/b/c": true, "/b": false},
		"/a/x*":     {"/a/x": true, "/a/xyz": true, "/a/xyz/q": true, "/a/y": false, "/a": false},
		"/a/x*z":    {"/a/xyz": true, "/a/xz": true, "/a/xy": false},
		"/a/*/c":    {"/a/b/c": false, "/a/x/c/d": false},
		"/*":        {"/a": true, "/a/b": false, "/": true},
		"/**":       {"/a": true, "/a/b": true, "/": true},
		"/":         {"/": true, "/a": false},
		"/UP":       {"/up": true, "/Up/x": true},
		"/ü":        {"/%C3%BC": true, "/u": false},
		"/b/*y*":    {"/b/xyz": true, "/b/y": true, "/b/x": false},
		"/a/** /a":  {"/a": true, "/a/q": true},
		"/a* /ab/c": {"/ab/c": true, "/ab/d": true},
	} {
		var operations []string
		for name := range strings.FieldsSeq(patterns) {
			operations = append(operations, name, "*", "allow")
		}
		p, _ := controlled(t, config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "deny", operations...)}}, true)
		for path, want := range paths {
			err := calls(t, p, id(t, "public", "default", "todo"), "GET "+path)
			if (err == nil) != want || err != nil && apperr.From(err).Reason != apperr.AccessDenied {
				t.Errorf("%s on %s: %v, want allowed %v", patterns, path, err, want)
			}
		}
	}
}

func TestTheOrderOfDecisionsIsDaprs(t *testing.T) {
	t.Parallel()
	todo := id(t, "public", "default", "todo")
	for name, c := range map[string]struct {
		given config.AccessControl
		grpc  bool
		who   identity.ID
		calls map[string]bool
	}{
		"nobody named, deny": {config.AccessControl{DefaultAction: "DENY"}, false, todo, map[string]bool{"GET /a": false}},
		"another app's policy, global allow": {
			config.AccessControl{DefaultAction: "Allow", Policies: []config.AccessPolicy{of("other", "deny")}}, false, todo, map[string]bool{"GET /a": true},
		},
		"no global default: deny": {
			config.AccessControl{Policies: []config.AccessPolicy{of("other", "allow")}}, false, todo, map[string]bool{"GET /a": false},
		},
		"a trust domain alone is deny too": {
			config.AccessControl{TrustDomain: "public", Policies: []config.AccessPolicy{of("other", "allow")}}, false, todo, map[string]bool{"GET /a": false},
		},
		"of another trust domain": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{{AppID: "todo", TrustDomain: "elsewhere", Namespace: "default", DefaultAction: "allow"}}},
			false, todo,
			map[string]bool{"GET /a": false},
		},
		"of another namespace": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{{AppID: "todo", TrustDomain: "public", Namespace: "blue", DefaultAction: "allow"}}},
			false, todo,
			map[string]bool{"GET /a": false},
		},
		"its default before the global one": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "allow", "/secret", "GET", "deny")}},
			false, todo,
			map[string]bool{"GET /a": true, "GET /secret": false, "POST /secret": true, "GET /secret/x": false},
		},
		"no default of its own": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "", "/a", "GET POST", "allow")}},
			false, todo,
			map[string]bool{"GET /a": true, "POST /a": true, "PUT /a": false, "GET /b": false},
		},
		"a method before all": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "deny", "/a", "* ", "allow", "/b", "GET", "allow")}},
			false, todo,
			map[string]bool{"PATCH /a": true, "POST /b": false, "get /b": false},
		},
		"no action is deny": {
			config.AccessControl{DefaultAction: "allow", Policies: []config.AccessPolicy{of("todo", "allow", "/a", "*", "")}},
			false, todo,
			map[string]bool{"GET /a": false, "GET /b": true},
		},
		"a gRPC app has no methods, and case counts": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "deny", "/pkg.Service/Method", "", "allow")}},
			true, todo,
			map[string]bool{"POST /pkg.Service/Method": true, "POST /pkg.service/method": false, "POST /pkg.Service/Other": false},
		},
		"a call without a method is its default's": {
			config.AccessControl{DefaultAction: "allow", Policies: []config.AccessPolicy{of("todo", "", "/a", "*", "allow")}},
			false, todo,
			map[string]bool{" /a": false, " /b": true},
		},
		"siblings in their order, without a way back": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "deny", "/a/x*", "*", "deny", "/a/xy", "*", "allow")}},
			false, todo,
			map[string]bool{"GET /a/xy": false},
		},
		"of two policies the last": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "deny"), of("todo", "allow")}},
			false, todo,
			map[string]bool{"GET /a": true},
		},
		"a path that means several things": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "allow")}},
			false, todo,
			map[string]bool{"GET /a/../b": false, "GET /a%2Fb": false},
		},
		"oneself, too": {
			config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "allow")}},
			false, id(t, "public", "default", "callee"),
			map[string]bool{"GET /a": false},
		},
	} {
		p, _ := controlled(t, c.given, !c.grpc)
		for call, want := range c.calls {
			if err := calls(t, p, c.who, call); (err == nil) != want {
				t.Errorf("%s: %s: %v, want allowed %v", name, call, err, want)
			}
		}
	}
}

func TestNothingSaidIsNoPolicy(t *testing.T) {
	t.Parallel()
	for _, given := range []config.AccessControl{{}, {DefaultAction: "allow"}, {TrustDomain: "public"}, {DefaultAction: "Allow", TrustDomain: "x"}} {
		if p, doubts := controlled(t, given, true); p != nil || len(doubts) > 0 {
			t.Errorf("%+v: %+v, %v", given, p, doubts)
		}
	}
}

func TestAPolicyMustSayForWhomItIs(t *testing.T) {
	t.Parallel()
	_, _, err := access.FromConfiguration(config.AccessControl{Policies: []config.AccessPolicy{
		{AppID: "a", At: "c.yaml:3"}, of("fine", "allow"), {TrustDomain: "public", Namespace: "default", At: "c.yaml:9"},
	}}, true)
	if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), `c.yaml:3: the policy "a" lacks trustDomain and namespace`) ||
		!strings.Contains(err.Error(), `c.yaml:9: the policy "" lacks appId`) || strings.Contains(err.Error(), "fine") {
		t.Errorf("%v", err)
	}
}

// An app of another namespace may call once a policy names it, and only then.
func TestAnotherNamespaceMustBeNamed(t *testing.T) {
	t.Parallel()
	blue := id(t, "public", "blue", "todo")
	named := config.AccessPolicy{AppID: "todo", TrustDomain: "public", Namespace: "blue"}
	for name, c := range map[string]struct {
		global, own string
		operations  []config.AccessOperation
		want        apperr.Reason
	}{
		"by its default":         {"deny", "allow", nil, ""},
		"by an operation":        {"deny", "", []config.AccessOperation{{Name: "/a", Verbs: []string{"GET"}, Action: "allow"}}, ""},
		"only by the global one": {"allow", "", nil, apperr.NamespaceDenied},
		"denied by its default":  {"allow", "deny", nil, apperr.AccessDenied},
	} {
		named.DefaultAction, named.Operations = c.own, c.operations
		p, _ := controlled(t, config.AccessControl{DefaultAction: c.global, Policies: []config.AccessPolicy{named}}, true)
		err := calls(t, p, blue, "GET /a")
		if c.want == "" && err != nil || c.want != "" && (err == nil || apperr.From(err).Reason != c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err := calls(t, p, id(t, "public", "green", "todo"), "GET /a"); err == nil || apperr.From(err).Reason != apperr.NamespaceDenied {
			t.Errorf("%s: a namespace that is not named: %v", name, err)
		}
	}
}

func TestARefusalNamesTheRuleAndTheOneThatIsMissing(t *testing.T) {
	t.Parallel()
	p, _ := controlled(t, config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "", "/a", "GET", "deny")}}, true)
	for call, want := range map[string][]string{
		"GET /a/b?q=secret": {"the operation /a at c.yaml:/a says: deny", "access control policy has denied access to id: spiffe://public/ns/default/todo operation: a/b verb: GET"},
		"POST /b": {
			"no operation of the policy at c.yaml:1 is for the call, and its default is deny",
			"{appId: todo, trustDomain: public, namespace: default, operations: [{name: /b, httpVerb: [POST], action: allow}]}",
		},
	} {
		e := apperr.From(calls(t, p, id(t, "public", "default", "todo"), call))
		said := e.Message() + "\n" + e.Dapr + "\n" + e.Cause + "\n" + e.Hint
		for _, part := range want {
			if !strings.Contains(said, part) || strings.Contains(said, "secret") || e.Reason.HTTPStatus() != 403 {
				t.Errorf("%s: %s, want %q", call, said, part)
			}
		}
	}
}

// A rule that Dapr would not carry out as it reads is kept as Dapr has it, and
// named.
func TestRulesThatDoNotDoWhatTheySeemToAreNamed(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]config.AccessPolicy{
		"c.yaml:/a/*/c: no call is for the operation /a/*/c":          of("todo", "", "/a/*/c", "*", "deny"),
		"c.yaml:/a/: no call is for the operation /a/":                of("todo", "", "/a/", "*", "deny"),
		"/a/b is never asked, as with Dapr: /a at c.yaml:/a comes":    of("todo", "", "/a/b", "*", "allow", "/a", "*", "deny"),
		"/a/xy is never asked, as with Dapr: /a/x* at c.yaml:/a/x* c": of("todo", "", "/a/x*", "*", "allow", "/a/xy", "*", "deny"),
		"action \"alow\" is neither allow nor deny":                   of("todo", "", "/a", "*", "alow"),
		"the operation /a has no action":                              of("todo", "", "/a", "*", ""),
		"httpVerb \"post\" is no call's: methods are POST":            of("todo", "", "/a", "post", "allow"),
		"defaultAction \"yes\" is neither":                            of("todo", "yes"),
	} {
		_, doubts := controlled(t, config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{p}}, true)
		if len(doubts) != 1 || !strings.Contains(doubts[0], want) {
			t.Errorf("%q, want %q", doubts, want)
		}
	}
	_, doubts := controlled(t, config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{
		of("todo", "", "/a", "GET", "allow", "/b/*", "*", "deny", "/c/**", "*", "allow", "/d/x*", "*", "allow", "/**", "*", "deny"),
	}}, true)
	if len(doubts) > 0 {
		t.Errorf("doubts about rules that do what they seem to: %q", doubts)
	}
}

// In a mesh of clear text nobody has an identity, and defaults decide.
func TestWithoutIdentitiesTheDefaultDecides(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]bool{"": true, "allow": true, "deny": false} {
		p, _ := controlled(t, config.AccessControl{DefaultAction: action}, true)
		rules := access.New(id(t, "public", "default", "callee"))
		rules.Unverified()
		rules.Enforce(p)
		err := rules.Allow(&invoke.Call{Verb: "GET", Path: "/a"})
		if (err == nil) != want {
			t.Errorf("%q: %v", action, err)
		}
		if err != nil && apperr.From(err).Dapr != "access control policy has denied access to id:  operation: a verb: GET" {
			t.Errorf("it says %q", apperr.From(err).Dapr)
		}
	}
}

func TestWhatAPolicyDecidedIsTold(t *testing.T) {
	t.Parallel()
	p, _ := controlled(t, config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "deny", "/a", "GET", "allow")}}, true)
	rules := access.New(id(t, "public", "default", "callee"))
	type told struct {
		caller         string
		byApp, allowed bool
	}
	var got []told
	rules.Judged(func(caller identity.ID, byApp, allowed bool) { got = append(got, told{caller.App(), byApp, allowed}) })
	_ = rules.Allow(&invoke.Call{Verb: "GET", Path: "/a", Caller: id(t, "public", "default", "todo")}) // no policy yet
	rules.Enforce(p)
	for _, caller := range []string{"todo", "other"} {
		_ = rules.Allow(&invoke.Call{Verb: "GET", Path: "/a", Caller: id(t, "public", "default", caller)})
	}
	want := []told{{"todo", true, true}, {"other", false, false}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAnAllowedCallCostsNoAllocation(t *testing.T) { //nolint:paralleltest // it counts what the process allocates
	p, _ := controlled(t, config.AccessControl{DefaultAction: "deny", Policies: []config.AccessPolicy{of("todo", "deny", "/a/x*", "POST", "allow")}}, true)
	rules := access.New(id(t, "public", "default", "callee"))
	rules.Enforce(p)
	call := &invoke.Call{Verb: "POST", Path: "/a/xyz?q=1", Caller: id(t, "public", "default", "todo")}
	allocations := testing.AllocsPerRun(1000, func() {
		if err := rules.Allow(call); err != nil {
			t.Error(err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}
