package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/tls/identity"
)

// A Policy says who may call what. Its zero value allows everything that the
// namespace allows, and is in force all the same.
type Policy struct {
	// Rules are tried in order; the first that is for a call decides.
	Rules []Rule
	// Deny refuses the calls that no rule is for.
	Deny bool

	control *control // of a Configuration; then there are no rules
}

// A Rule decides the calls that it is for.
type Rule struct {
	// App is the caller's app ID. Empty or *: any.
	App string
	// Path is what is called. /a is /a and everything below it, /a/* is /a and
	// one segment below it, /a/** is as /a, /a/x* are the segments of /a that
	// begin with x and what is below them. Empty, /* and /** alone: any path
	// but for /*, which is one segment. Case does not count.
	Path string
	// Verbs are the HTTP methods, whatever their case. Empty or *: any.
	Verbs []string
	// Deny refuses the calls; otherwise they are allowed.
	Deny bool
}

// A verdict is what a policy says of a call.
type verdict struct {
	allowed bool
	// byApp is true if it is about this caller, open if no rule was for the
	// call: then it is a default.
	byApp, open bool

	rule      int // from 1; 0 for none
	app       *appControl
	operation *operation
}

// decide says whether p lets caller do verb on path, which is clean.
func (p *Policy) decide(caller identity.ID, verb, path string) verdict {
	if p.control != nil {
		return p.control.decide(caller, verb, path)
	}
	for i := range p.Rules {
		if r := &p.Rules[i]; r.matches(caller.App(), verb, path) {
			return verdict{allowed: !r.Deny, byApp: true, rule: i + 1}
		}
	}
	return verdict{allowed: !p.Deny, open: true}
}

// why says in words why v is what it is.
func (p *Policy) why(v verdict) string {
	switch {
	case p.control != nil:
		return p.control.why(v)
	case v.rule > 0:
		return fmt.Sprintf("its rule %d says: %s", v.rule, &p.Rules[v.rule-1])
	}
	return "none of its rules allows it"
}

// hint is what would let a call through.
func (p *Policy) hint(caller identity.ID, verb, path string) string {
	if p.control == nil {
		return fmt.Sprintf("allow %s %s %s", caller.App(), path, verb)
	}
	verbs := ""
	if p.control.http {
		verbs = ", httpVerb: [" + verb + "]"
	}
	return fmt.Sprintf("{appId: %s, trustDomain: %s, namespace: %s, operations: [{name: %s%s, action: allow}]}",
		caller.App(), caller.TrustDomain(), caller.Namespace(), path, verbs)
}

func (r *Rule) matches(caller, verb, path string) bool {
	return (r.App == "" || r.App == "*" || r.App == caller) &&
		(len(r.Verbs) == 0 || slices.ContainsFunc(r.Verbs, func(v string) bool { return v == "*" || strings.EqualFold(v, verb) })) &&
		matchPath(r.Path, path)
}

// matchPath reports whether a clean path is one of pattern's.
func matchPath(pattern, path string) bool {
	switch {
	case pattern == "":
		return true
	case strings.HasSuffix(pattern, "/**"):
		return isBelow(path, pattern[:len(pattern)-3])
	case strings.HasSuffix(pattern, "/*"):
		base := pattern[:len(pattern)-2]
		return isBelow(path, base) && strings.Count(path[min(len(base)+1, len(path)):], "/") == 0
	case strings.HasSuffix(pattern, "*"):
		prefix := pattern[:len(pattern)-1]
		return hasPrefix(path, prefix)
	case pattern == "/":
		return path == "/"
	default:
		return isBelow(path, strings.TrimSuffix(pattern, "/"))
	}
}

// isBelow reports whether path is base or something below it.
func isBelow(path, base string) bool {
	return hasPrefix(path, base) && (len(path) == len(base) || path[len(base)] == '/')
}

func hasPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// String is the rule in its short form.
func (r *Rule) String() string {
	words := []string{"allow", r.App, r.Path, strings.Join(r.Verbs, ",")}
	if r.Deny {
		words[0] = "deny"
	}
	if r.App == "" {
		words[1] = "*"
	}
	if r.Path == "" {
		words[2] = "/**"
	}
	return strings.TrimRight(strings.Join(words, " "), " ")
}

// ParsePolicy reads rules in their short form, one to a line or separated by
// semicolons: allow or deny, then the caller's app ID or *, the path, and the
// methods, separated by commas; the last two may be left out. "default deny"
// and "default allow" say what happens to all else; allow if nothing does.
//
//	allow todo-api /notify POST
//	default deny
func ParsePolicy(text string) (*Policy, error) {
	p := new(Policy)
	for line := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ';' || c == '\n' }) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := p.add(words); err != nil {
			return nil, fmt.Errorf("the access rule %q: %w", strings.TrimSpace(line), err)
		}
	}
	return p, nil
}

func (p *Policy) add(words []string) error {
	if words[0] == "default" {
		if len(words) != 2 {
			return fmt.Errorf("default is allow or deny")
		}
		deny, err := action(words[1])
		p.Deny = deny
		return err
	}
	deny, err := action(words[0])
	if err != nil {
		return err
	}
	if len(words) < 2 || len(words) > 4 {
		return fmt.Errorf("it is not <allow|deny> <app-id> [<path> [<methods>]]")
	}
	r := Rule{App: words[1], Deny: deny}
	if len(words) > 2 {
		if !strings.HasPrefix(words[2], "/") {
			return fmt.Errorf("the path %q does not begin with a slash", words[2])
		}
		r.Path = words[2]
	}
	if len(words) > 3 {
		r.Verbs = strings.Split(strings.ToUpper(words[3]), ",")
	}
	p.Rules = append(p.Rules, r)
	return nil
}

func action(word string) (deny bool, err error) {
	switch word {
	case "allow":
		return false, nil
	case "deny":
		return true, nil
	}
	return false, fmt.Errorf("%q is neither allow nor deny", word)
}
