package access_test

import (
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/access"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

func id(t *testing.T, domain, namespace, app string) identity.ID {
	t.Helper()
	got, err := identity.New(domain, namespace, app)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAllowStaysInsideTheNamespaceAndTheTrustDomain(t *testing.T) {
	t.Parallel()
	rule := access.New(id(t, "public", "default", "callee"))
	for _, tt := range []struct {
		name   string
		caller identity.ID
		want   apperr.Reason // "" is allowed
		dapr   string
	}{
		{"same namespace", id(t, "public", "default", "caller"), "", ""},
		{"itself", id(t, "public", "default", "callee"), "", ""},
		{
			"other namespace", id(t, "public", "blue", "caller"), apperr.NamespaceDenied,
			"access control policy has denied access to id: spiffe://public/ns/blue/caller operation: a/b%2Fc verb: PUT",
		},
		{
			"other trust domain", id(t, "elsewhere", "default", "caller"), apperr.AccessDenied,
			"access control policy has denied access to id: spiffe://elsewhere/ns/default/caller operation: a/b%2Fc verb: PUT",
		},
		{
			"nobody",
			identity.ID{},
			apperr.AccessDenied,
			"access control policy has denied access to id:  operation: a/b%2Fc verb: PUT",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := rule.Allow(&invoke.Call{Verb: "PUT", Path: "/a/b%2Fc?q=secret", Caller: tt.caller})
			if tt.want == "" {
				if err != nil {
					t.Errorf("Allow = %v, want nil", err)
				}
				return
			}
			e := apperr.From(err)
			if e.Reason != tt.want || e.Dapr != tt.dapr || e.Reached != apperr.ReachedNo || e.At() != apperr.HopAccess || e.Reason.HTTPStatus() != 403 {
				t.Errorf("Allow = %v %q reached %v at %v, want %v %q", e.Reason, e.Dapr, e.Reached, e.At(), tt.want, tt.dapr)
			}
		})
	}
}
