package invoke

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

// ParseTarget reads a target as callers write it: app, app.namespace, or the
// URL of a host outside the mesh. What breaks the rules is TARGET_INVALID in
// Dapr's words, with the rule as its cause.
func ParseTarget(given string) (Target, error) {
	if given == "" {
		return Target{}, TargetMissing()
	}
	if isURL(given) {
		if problem := CheckBase(given); problem != "" {
			return Target{}, invalidTarget(given, problem)
		}
		return Target{Given: given, URL: given}, nil
	}
	app, namespace, dotted := strings.Cut(given, ".")
	if strings.Contains(namespace, ".") {
		return Target{}, invalidTarget(given, "a target has one dot at most: app or app.namespace")
	}
	if err := identity.CheckAppID(app); err != nil {
		return Target{}, invalidTarget(given, "an app id is "+identity.Rule)
	}
	if dotted {
		if err := identity.CheckNamespace(namespace); err != nil {
			return Target{}, invalidTarget(given, "a namespace is "+identity.Rule)
		}
	}
	return Target{App: app, Namespace: namespace, Given: given}, nil
}

// CheckBase returns what is wrong with s as the URL that calls begin with, or
// "".
func CheckBase(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return "it is no URL: " + err.Error()
	case u.Scheme != "http" && u.Scheme != "https":
		return "it does not begin with http:// or https://"
	case u.Hostname() == "":
		return "it names no host"
	case u.User != nil:
		return "credentials do not belong in it: send them in the field Authorization"
	case strings.ContainsAny(s, "?#"):
		return "a query belongs behind the method"
	case u.Port() != "" && !isPort(u.Port()):
		return "the port is not 1 to 65535"
	}
	return ""
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func isURL(s string) bool {
	return hasPrefixFold(s, "http://") || hasPrefixFold(s, "https://")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// TargetMissing is the error of a call that names no app, in Dapr's words.
func TargetMissing() *apperr.Error {
	return &apperr.Error{
		Reason:  apperr.TargetMissing,
		What:    "the call names no app",
		Dapr:    "failed getting app id either from the URL path or the header dapr-app-id",
		Reached: apperr.ReachedNo,
	}
}

func invalidTarget(given, cause string) *apperr.Error {
	text := "invalid app id " + given
	return &apperr.Error{
		Reason: apperr.TargetInvalid, What: text, Dapr: text, Cause: cause,
		Reached: apperr.ReachedNo,
	}
}

// NamespaceDenied is the refusal of a call from caller to the app callee of
// another namespace, with the rule that would allow it.
func NamespaceDenied(caller, callee identity.ID, c *Call) *apperr.Error {
	operation, _, _ := strings.Cut(c.Path, "?")
	return &apperr.Error{
		Reason: apperr.NamespaceDenied,
		What: fmt.Sprintf("%s.%s does not let %s.%s call it",
			callee.App(), callee.Namespace(), caller.App(), caller.Namespace()),
		Dapr: fmt.Sprintf("access control policy has denied access to id: %s operation: %s verb: %s",
			caller, strings.TrimPrefix(operation, "/"), c.Verb),
		Cause: fmt.Sprintf("calls stay inside a namespace; %s is in %s, %s in %s",
			caller.App(), caller.Namespace(), callee.App(), callee.Namespace()),
		Hint: fmt.Sprintf("a policy at %s would allow it: {appId: %s, trustDomain: %s, namespace: %s, defaultAction: allow}; or run both with one --namespace",
			callee.App(), caller.App(), caller.TrustDomain(), caller.Namespace()),
		Reached: apperr.ReachedNo,
	}
}
