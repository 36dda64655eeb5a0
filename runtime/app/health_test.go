package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A patient is an app that says of itself what it is told to.
type patient struct {
	status atomic.Int64
	asked  atomic.Int64
	calls  atomic.Int64
}

func (p *patient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		p.asked.Add(1)
		w.WriteHeader(int(p.status.Load()))
		return
	}
	p.calls.Add(1)
	_, _ = io.WriteString(w, "hello")
}

// checked is a Health that asks a patient often.
func checked(threshold int) app.Health {
	return app.Health{
		Interval: 5 * time.Millisecond, Timeout: within.Patience, Threshold: threshold,
		Ask: func(ctx context.Context, to invoke.Handler) error {
			answer, err := to.Serve(ctx, &invoke.Call{Verb: "GET", Path: "/healthz", Major: 1, Attempt: 1, Only: true})
			if err != nil {
				return err
			}
			_ = answer.Body.Close() // only its status counts
			if answer.Status != http.StatusOK {
				return fmt.Errorf("status %d", answer.Status)
			}
			return nil
		},
	}
}

func call(t *testing.T, a *app.App) (int, error) {
	t.Helper()
	answer, err := a.Serve(t.Context(), &invoke.Call{Verb: "GET", Path: "/x", Major: 1, Attempt: 1, Only: true})
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close() // read to its end
	return answer.Status, nil
}

func isUnhealthy(err error) bool {
	e, ok := errors.AsType[*apperr.Error](err)
	return ok && e.Reason == apperr.AppUnhealthy && e.Reached == apperr.ReachedNo
}

func TestAnAppThatIsAskedGetsNoCallBeforeItIsWell(t *testing.T) {
	t.Parallel()
	p := &patient{}
	p.status.Store(http.StatusServiceUnavailable)
	a, _ := runApp(t, app.Config{Port: serve(t, p), Health: checked(3)})
	within.Until(t, "the app is unhealthy", func() bool { return a.State() == discovery.Unhealthy })
	if _, err := call(t, a); !isUnhealthy(err) {
		t.Errorf("a call to an app that never said it is well: %v", err)
	}
	p.status.Store(http.StatusOK)
	within.Until(t, "the app is ready", func() bool { return a.State() == discovery.Ready })
	if status, err := call(t, a); status != http.StatusOK || err != nil {
		t.Errorf("a call to an app that is well: %d, %v", status, err)
	}
	if n := p.calls.Load(); n != 1 {
		t.Errorf("the app got %d calls, want 1", n)
	}
}

func TestFailuresInARowMakeAnAppUnhealthyAndOneSuccessHealthy(t *testing.T) {
	t.Parallel()
	p := &patient{}
	p.status.Store(http.StatusOK)
	a, heard := runApp(t, app.Config{Port: serve(t, p), Health: checked(3), MaxConcurrency: 1})
	within.Until(t, "the app is ready", func() bool { return a.State() == discovery.Ready })
	p.status.Store(http.StatusInternalServerError)
	within.Until(t, "the app is unhealthy", func() bool { return a.State() == discovery.Unhealthy })
	if _, err := call(t, a); !isUnhealthy(err) {
		t.Errorf("a call to an app that is not well: %v", err)
	}
	p.status.Store(http.StatusOK)
	within.Until(t, "the app is ready again", func() bool { return a.State() == discovery.Ready })
	if status, err := call(t, a); status != http.StatusOK || err != nil {
		t.Errorf("a call to an app that is well again: %d, %v", status, err)
	}
	within.Until(t, "three events were told", func() bool { return len(heard.all()) == 3 })
	events := heard.all()
	sick, ok := events[1].(app.Unhealthy)
	if _, first := events[0].(app.Healthy); !first || !ok || sick.Failures != 3 || sick.Why.Error() != "status 500" {
		t.Errorf("events %v", events)
	}
	if _, last := events[2].(app.Healthy); !last {
		t.Errorf("events %v", events)
	}
}

// A busy app is asked all the same: its calls have all the slots there are.
func TestHealthIsAskedBesideTheMaximumOfCalls(t *testing.T) {
	t.Parallel()
	p := &patient{}
	p.status.Store(http.StatusOK)
	held, release := make(chan struct{}), make(chan struct{})
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			close(held)
			<-release
			return
		}
		p.ServeHTTP(w, r)
	}))
	a, _ := runApp(t, app.Config{Port: port, Health: checked(1), MaxConcurrency: 1})
	within.Until(t, "the app is ready", func() bool { return a.State() == discovery.Ready })
	done := make(chan error, 1)
	go func() {
		answer, err := a.Serve(t.Context(), &invoke.Call{Verb: "GET", Path: "/hold", Major: 1, Attempt: 1, Only: true})
		if err == nil {
			_ = answer.Body.Close() // there is none
		}
		done <- err
	}()
	within.Receive(t, held)
	before := p.asked.Load()
	within.Until(t, "it is asked meanwhile", func() bool { return p.asked.Load() > before+3 })
	if got := a.State(); got != discovery.Ready {
		t.Errorf("a busy app is %s", got)
	}
	close(release)
	if err := within.Receive(t, done); err != nil {
		t.Error(err)
	}
	within.Until(t, "nothing is in flight", func() bool { return a.Inflight() == 0 })
	if status, err := call(t, a); status != http.StatusOK || err != nil {
		t.Errorf("a call afterwards: %d, %v", status, err)
	}
}
