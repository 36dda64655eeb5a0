// Package identity is who a workload is: its app ID, its namespace, its trust
// domain, and the SPIFFE ID that joins them. Values can only be made by
// parsing, so code never holds an invalid one.
package identity

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Defaults, as Dapr's self-hosted sidecars have them.
const (
	DefaultTrustDomain = "public"
	DefaultNamespace   = "default"
)

// ReservedPrefix begins the app IDs that are ours. CLI is the caller that
// `pillion invoke` is without --as.
const (
	ReservedPrefix = "pillion-"
	CLI            = "pillion-cli"
)

// maxLabel is the longest label of DNS (RFC 1035 §2.3.4). Names travel in
// DNS-SD, so it bounds an app ID; Dapr's own limit is 64.
const maxLabel = 63

// maxTrustDomain is the longest trust domain (SPIFFE-ID §2.3).
const maxTrustDomain = 255

// Rule is the rule for app IDs and namespaces in one sentence, for messages.
const Rule = "1 to 63 letters, digits, - or _, beginning and ending with a letter or digit"

// CheckAppID returns why s cannot be an app ID, or nil.
func CheckAppID(s string) error {
	if !isLabel(s) {
		return fmt.Errorf("%q is not an app ID: %s", s, Rule)
	}
	return nil
}

// CheckOwnAppID is CheckAppID for an app that is to be run: reserved IDs are
// refused too.
func CheckOwnAppID(s string) error {
	if err := CheckAppID(s); err != nil {
		return err
	}
	if strings.HasPrefix(s, ReservedPrefix) {
		return fmt.Errorf("%q is reserved: app IDs beginning with %s are pillion's own", s, ReservedPrefix)
	}
	return nil
}

// CheckNamespace returns why s cannot be a namespace, or nil.
func CheckNamespace(s string) error {
	if !isLabel(s) {
		return fmt.Errorf("%q is not a namespace: %s", s, Rule)
	}
	return nil
}

// CheckTrustDomain returns why s cannot be a trust domain, or nil.
func CheckTrustDomain(s string) error {
	if _, err := spiffeid.TrustDomainFromString(s); err != nil || strings.Contains(s, "/") || len(s) > maxTrustDomain {
		return fmt.Errorf("%q is not a trust domain: 1 to %d lower-case letters, digits, dots, - or _", s, maxTrustDomain)
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// An ID is a workload identity, spiffe://<trust domain>/ns/<namespace>/<app>.
// Its zero value is nobody. IDs are comparable.
type ID struct {
	trustDomain, namespace, app string
}

// New makes the identity of an app. It returns an error that names the part
// that breaks its rule.
func New(trustDomain, namespace, app string) (ID, error) {
	if err := CheckTrustDomain(trustDomain); err != nil {
		return ID{}, err
	}
	if err := CheckNamespace(namespace); err != nil {
		return ID{}, err
	}
	if err := CheckAppID(app); err != nil {
		return ID{}, err
	}
	return ID{trustDomain, namespace, app}, nil
}

// Sibling is the identity of an app in id's trust domain. It returns an error
// that names the part that breaks its rule. id must not be nobody.
func (id ID) Sibling(namespace, app string) (ID, error) {
	if err := CheckNamespace(namespace); err != nil {
		return ID{}, err
	}
	if err := CheckAppID(app); err != nil {
		return ID{}, err
	}
	return ID{id.trustDomain, namespace, app}, nil
}

// Parse reads a SPIFFE ID of Dapr's form. Nothing else is accepted, and what
// is accepted prints back the same.
func Parse(s string) (ID, error) {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	if !ok {
		return ID{}, fmt.Errorf("%q is not a SPIFFE ID", s)
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 4 || parts[1] != "ns" {
		return ID{}, fmt.Errorf("%q is not spiffe://<trust domain>/ns/<namespace>/<app>", s)
	}
	id, err := New(parts[0], parts[2], parts[3])
	if err != nil {
		return ID{}, fmt.Errorf("%q: %w", s, err)
	}
	return id, nil
}

// TrustDomain is whose CA vouches for the workload.
func (id ID) TrustDomain() string { return id.trustDomain }

// Namespace is the group of apps the workload belongs to.
func (id ID) Namespace() string { return id.namespace }

// App is the app ID.
func (id ID) App() string { return id.app }

// IsZero reports whether id is nobody.
func (id ID) IsZero() bool { return id == ID{} }

// String is the SPIFFE ID, or "" for nobody.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return "spiffe://" + id.trustDomain + "/ns/" + id.namespace + "/" + id.app
}

// SPIFFE is id as go-spiffe has it.
func (id ID) SPIFFE() (spiffeid.ID, error) { return spiffeid.FromString(id.String()) }
