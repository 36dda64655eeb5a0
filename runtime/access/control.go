package access

import (
	"fmt"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/tls/identity"
)

// FromConfiguration makes the policy that Dapr's Configuration gives an app; nil
// if it restricts nothing. http says that the app speaks HTTP: then the rules
// are for its methods, whatever the case of the path, and else for paths alone.
//
// A policy decides as Dapr's does, so that what is tried out here holds there;
// doubts name the rules that do not do what they seem to. Policies that do not
// say whom they are for are an error, which names them all.
func FromConfiguration(given config.AccessControl, http bool) (p *Policy, doubts []string, err error) {
	if len(given.Policies) == 0 && (given.DefaultAction == "" || isAllow(given.DefaultAction)) {
		return nil, doubtful("", "defaultAction", given.DefaultAction), nil
	}
	if err := whole(given.Policies); err != nil {
		return nil, nil, err
	}
	c := &control{deny: !isAllow(given.DefaultAction), http: http, apps: map[appKey]*appControl{}}
	doubts = doubtful("", "spec.accessControl.defaultAction", given.DefaultAction)
	for _, one := range given.Policies {
		key := appKey{one.AppID, one.Namespace}
		if before := c.apps[key]; before != nil {
			doubts = append(doubts, fmt.Sprintf("%s: this policy for %s replaces the one at %s", one.At, one.AppID, before.at))
		}
		app, doubt := newAppControl(one, http)
		c.apps[key], doubts = app, append(doubts, doubt...)
	}
	return &Policy{control: c, Deny: c.deny}, doubts, nil
}

// whole reports the policies that lack one of the three that Dapr asks for.
func whole(policies []config.AccessPolicy) error {
	var wrong []string
	for _, p := range policies {
		var lacks []string
		for _, field := range []struct{ name, value string }{
			{"appId", p.AppID}, {"trustDomain", p.TrustDomain}, {"namespace", p.Namespace},
		} {
			if field.value == "" {
				lacks = append(lacks, field.name)
			}
		}
		if len(lacks) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: the policy %q lacks %s", p.At, p.AppID, strings.Join(lacks, " and ")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &apperr.Error{
		Reason: apperr.OwnConfig, What: "spec.accessControl cannot be enforced: " + strings.Join(wrong, "; "),
		Hint: "a policy is for a caller: appId: <id>, trustDomain: " + identity.DefaultTrustDomain + ", namespace: " + identity.DefaultNamespace,
	}
}

func isAllow(action string) bool { return strings.EqualFold(action, "allow") }

// doubtful reports an action that is neither, which Dapr takes for deny.
func doubtful(at, what, action string) []string {
	if action == "" || isAllow(action) || strings.EqualFold(action, "deny") {
		return nil
	}
	if at != "" {
		at += ": "
	}
	return []string{fmt.Sprintf("%s%s %q is neither allow nor deny, and counts as deny", at, what, action)}
}

// control is Dapr's access control: what the apps that are named may do.
type control struct {
	deny, http bool
	apps       map[appKey]*appControl
}

type appKey struct{ app, namespace string }

// appControl is what one caller may do.
type appControl struct {
	trustDomain string
	action      string // of what no operation is for; "" for the policy's
	root        node
	at          string
}

func newAppControl(given config.AccessPolicy, http bool) (*appControl, []string) {
	app := &appControl{trustDomain: given.TrustDomain, action: given.DefaultAction, at: given.At}
	doubts := doubtful(given.At, "defaultAction", given.DefaultAction)
	var rules []*operation
	for _, one := range given.Operations {
		o := &operation{name: one.Name, action: one.Action, at: one.At}
		if !strings.HasPrefix(o.name, "/") {
			o.name = "/" + o.name
		}
		if http {
			o.name = strings.ToLower(o.name)
			o.verbs = one.Verbs
		}
		doubts = append(doubts, o.doubts(one)...)
		app.root.put(o)
		rules = append(rules, o)
	}
	for _, o := range rules {
		switch found := app.root.search(o.witness()); found {
		case o:
		case nil:
			doubts = append(doubts, fmt.Sprintf("%s: no call is for the operation %s, as with Dapr: * stands for a segment only at a path's end, and paths end without a slash", o.at, o.name))
		default:
			doubts = append(doubts, fmt.Sprintf("%s: the operation %s is never asked, as with Dapr: %s at %s comes first", o.at, o.name, found.name, found.at))
		}
	}
	return app, doubts
}

// decide says what c says of a call on a clean path.
func (c *control) decide(caller identity.ID, verb, path string) verdict {
	app := c.apps[appKey{caller.App(), caller.Namespace()}]
	if caller.IsZero() || app == nil || app.trustDomain != caller.TrustDomain() {
		return verdict{allowed: !c.deny, open: true}
	}
	v := verdict{allowed: !c.deny, open: true, app: app}
	if app.action != "" {
		v.allowed, v.byApp = isAllow(app.action), true
	}
	if c.http {
		path = strings.ToLower(path)
	}
	found := app.root.search(path)
	if found == nil {
		return v
	}
	if c.http && verb == "" {
		// A call without a method is for no rule, and Dapr asks no further.
		return verdict{allowed: isAllow(app.action), byApp: true, open: true, app: app}
	}
	if action, decided := found.decide(verb, c.http); decided {
		return verdict{allowed: isAllow(action), byApp: true, app: app, operation: found}
	}
	return v
}

// why says in words why v is what it is.
func (c *control) why(v verdict) string {
	byDefault := "its default is allow"
	if c.deny {
		byDefault = "its default is deny"
	}
	switch {
	case v.operation != nil:
		return fmt.Sprintf("the operation %s at %s says: %s", v.operation.name, v.operation.at, v.operation.says())
	case v.app == nil:
		return "no policy of its Configuration is for that caller, and " + byDefault
	case v.app.action == "":
		return "no operation of the policy at " + v.app.at + " is for the call, and " + byDefault
	}
	return "no operation of the policy at " + v.app.at + " is for the call, and its default is " + v.app.action
}
