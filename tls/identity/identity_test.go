package identity_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/pillion-dev/pillion/tls/identity"
)

func TestNamesThatFitAndNamesThatDoNot(t *testing.T) {
	t.Parallel()
	for s, good := range map[string]bool{
		"a": true, "todo-api": true, "A_b-9": true, "9lives": true, strings.Repeat("x", 63): true,
		"": false, strings.Repeat("x", 64): false, "-a": false, "a-": false, "_a": false, "a_": false,
		"a.b": false, "a/b": false, "a b": false, "ä": false, "a\n": false, "a\x00": false, "a%2fb": false, "..": false,
	} {
		for what, check := range map[string]func(string) error{
			"CheckAppID": identity.CheckAppID, "CheckNamespace": identity.CheckNamespace,
		} {
			if err := check(s); (err == nil) != good {
				t.Errorf("%s(%q) = %v, want good %v", what, s, err, good)
			} else if err != nil && !strings.Contains(err.Error(), identity.Rule) {
				t.Errorf("%s(%q) does not say the rule: %v", what, s, err)
			}
		}
	}
}

func TestReservedNamesCannotBeRun(t *testing.T) {
	t.Parallel()
	for s, good := range map[string]bool{"pillion": true, "my-pillion-app": true, "pillion-cli": false, "pillion-x": false, "a b": false} {
		if err := identity.CheckOwnAppID(s); (err == nil) != good {
			t.Errorf("CheckOwnAppID(%q) = %v, want good %v", s, err, good)
		}
	}
	if err := identity.CheckAppID(identity.CLI); err != nil {
		t.Errorf("CheckAppID(%q) = %v: it calls others", identity.CLI, err)
	}
}

func TestTrustDomains(t *testing.T) {
	t.Parallel()
	for s, good := range map[string]bool{
		"public": true, "team.example": true, "a_b-c.9": true,
		"": false, "Public": false, "a/b": false, "a b": false, "spiffe://public": false, "public/": false, "a:1": false, "ä": false,
		strings.Repeat("x", 256): false,
	} {
		if err := identity.CheckTrustDomain(s); (err == nil) != good {
			t.Errorf("CheckTrustDomain(%q) = %v, want good %v", s, err, good)
		}
	}
}

func TestIDHasItsParts(t *testing.T) {
	t.Parallel()
	id, err := identity.New("public", "default", "todo-api")
	if err != nil {
		t.Fatal(err)
	}
	if id.TrustDomain() != "public" || id.Namespace() != "default" || id.App() != "todo-api" || id.IsZero() {
		t.Errorf("parts of %v: %s, %s, %s", id, id.TrustDomain(), id.Namespace(), id.App())
	}
	if got := id.String(); got != "spiffe://public/ns/default/todo-api" {
		t.Errorf("String = %s", got)
	}
	again, err := identity.Parse(id.String())
	if err != nil || again != id {
		t.Errorf("Parse(String) = %v, %v", again, err)
	}
	var nobody identity.ID
	if !nobody.IsZero() || nobody.String() != "" {
		t.Errorf("nobody is %q", nobody.String())
	}
	if _, err := nobody.SPIFFE(); err == nil {
		t.Error("nobody has a SPIFFE ID")
	}
}

func TestNewNamesTheWrongPart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ domain, namespace, app, says string }{
		{"Bad Domain", "default", "a", "trust domain"},
		{"public", "a.b", "a", "namespace"},
		{"public", "default", "a/b", "app ID"},
	} {
		if _, err := identity.New(test.domain, test.namespace, test.app); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("New(%q, %q, %q) = %v, want it to name the %s", test.domain, test.namespace, test.app, err, test.says)
		}
	}
}

func TestParseRefusesOtherForms(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "public/ns/default/a", "SPIFFE://public/ns/default/a", "https://public/ns/default/a",
		"spiffe://public", "spiffe://public/", "spiffe://public/a", "spiffe://public/ns/default",
		"spiffe://public/ns/default/a/", "spiffe://public/ns/default/a/b", "spiffe://public/NS/default/a",
		"spiffe://public/ns//a", "spiffe:///ns/default/a", "spiffe://user@public/ns/default/a", "spiffe://public:1/ns/default/a",
		"spiffe://public/ns/default/a?x=1", "spiffe://public/ns/default/a#x", "spiffe://public/ns/default/%61",
		"spiffe://public/ns/../a", "spiffe://public//ns/default/a", " spiffe://public/ns/default/a",
	} {
		if id, err := identity.Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", s, id)
		}
	}
}

// What Parse accepts prints back the same, and two other readers, that of URLs
// and that of SPIFFE IDs, find the same parts.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"spiffe://public/ns/default/todo-api", "spiffe://a.b/ns/x/y", "spiffe://public/ns/../admin", "spiffe://public/ns/default/a?b",
		"spiffe://u@public/ns/default/a", "spiffe://public/ns/default/%2e", "spiffe://[::1]/ns/default/a", "spiffe://public/ns/default/a\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := identity.Parse(s)
		if err != nil {
			if !id.IsZero() {
				t.Errorf("Parse(%q) gives %v and an error", s, id)
			}
			return
		}
		if id.String() != s {
			t.Errorf("Parse(%q) prints back as %q", s, id)
		}
		path := "/ns/" + id.Namespace() + "/" + id.App()
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "spiffe" || u.Host != id.TrustDomain() || u.Path != path || u.User != nil ||
			u.RawQuery != "" || u.Fragment != "" || u.String() != s || u.JoinPath().Path != u.Path {
			t.Errorf("Parse accepts %q, which a URL reader sees as %#v, %v", s, u, err)
		}
		other, err := spiffeid.FromString(s)
		if err != nil || other.TrustDomain().Name() != id.TrustDomain() || other.Path() != path {
			t.Errorf("Parse accepts %q, which go-spiffe reads as %v, %v", s, other, err)
		}
		if ours, err := id.SPIFFE(); err != nil || ours != other {
			t.Errorf("SPIFFE of %q = %v, %v", s, ours, err)
		}
	})
}
