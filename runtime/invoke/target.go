package invoke

import (
	"fmt"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

// ParseTarget reads a target as callers write it: app or app.namespace. What
// breaks the rule for ids is TARGET_INVALID in Dapr's words, with the rule as
// its cause.
func ParseTarget(given string) (Target, error) {
	if given == "" {
		return Target{}, TargetMissing()
	}
	if isURL(given) {
		return Target{}, invalidTarget(given, "targets beginning with http:// or https:// are not carried by this version")
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
// another namespace, with the rule that will allow it.
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
		Hint: fmt.Sprintf("a rule at %s will allow it: policies: [{appId: %s, namespace: %s, defaultAction: allow}]; until then run both with one --namespace",
			callee.App(), caller.App(), caller.Namespace()),
		Reached: apperr.ReachedNo,
	}
}
