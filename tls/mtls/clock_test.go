package mtls_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

// The certificates are moved, not the machine's clock.
func TestCertificatesMadeByAnotherClock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		maker time.Duration // the maker's clock, ahead of ours
		says  []string      // nothing: the leaf is good
	}{
		"in step":            {0, nil},
		"ten minutes ahead":  {10 * time.Minute, nil},
		"an hour behind":     {-time.Hour, nil},
		"an hour ahead":      {time.Hour, []string{"not valid yet", "this clock is at least 45m behind", "set the clock"}},
		"two days ahead":     {48 * time.Hour, []string{"not valid yet", "clock"}},
		"two days behind":    {-48 * time.Hour, []string{"expired", "24h ago", "this clock says"}},
		"eleven years ahead": {11 * 365 * 24 * time.Hour, []string{"not valid yet"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var maker clock
			maker.set(test.maker)
			c := newCA(t, ca.Options{Now: maker.now})
			_, err := mtls.NewWorkload(t.Context(), mtls.Config{ID: id(t, "todo-api"), Sentry: sentry.NewLocal(c, 0)})
			check(t, "NewWorkload", err, test.says)

			// A peer who lives by the maker's clock shows such a leaf.
			callee := workload(t, c, "notification-service", maker.now)
			caller := workload(t, c, "todo-api", maker.now)
			maker.set(0) // its clock is right again, its leaf is still the old one
			p := listen(t, server(callee))
			_, err = call(t.Context(), p.addr, caller.Client(callee.ID(), label, proto))
			check(t, "a call", err, test.says)
			if err != nil && !strings.HasPrefix(mtls.Explain(err, callee.ID()).What, "notification-service's certificate") {
				t.Errorf("%q does not name the peer", err)
			}
		})
	}
}

func check(t *testing.T, what string, err error, says []string) {
	t.Helper()
	if says == nil {
		if err != nil {
			t.Errorf("%s = %v", what, err)
		}
		return
	}
	if !apperr.Is(err, apperr.CertNotValid) {
		t.Errorf("%s = %v, want CERTIFICATE_NOT_VALID", what, err)
		return
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s = %q, want it to say %q", what, err, part)
		}
	}
}

// What the peer could only answer with "bad certificate" is said before.
func TestOwnCertificateThatHasEndedIsSaidByUs(t *testing.T) {
	t.Parallel()
	c := newCA(t, ca.Options{})
	var ours clock
	caller := workload(t, c, "todo-api", ours.now)
	// The callee's leaf lives longer, so that only ours has ended.
	callee, err := mtls.NewWorkload(t.Context(), mtls.Config{ID: id(t, "notification-service"), Sentry: sentry.NewLocal(c, 100*time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	p := listen(t, server(callee))
	ours.set(25 * time.Hour)
	_, err = call(t.Context(), p.addr, caller.Client(callee.ID(), label, proto))
	e := mtls.Explain(err, callee.ID())
	if e == nil || e.Reason != apperr.CertNotValid || e.Reached != apperr.ReachedNo || !strings.Contains(e.What, "own certificate has expired") {
		t.Errorf("a call = %+v, want that our own certificate has expired", e)
	}
}
