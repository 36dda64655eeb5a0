package instance_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/instance"
)

// A restartable is an app whose process is replaced when the test says so.
type restartable struct {
	*app
	begun chan struct{} // each request
	ends  chan error    // how it goes
}

func (r *restartable) Restart(ctx context.Context) error {
	r.begun <- struct{}{}
	select {
	case err := <-r.ends:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// runRestartable serves one that can be restarted.
func runRestartable(t *testing.T) (*restartable, *rundir.Registration, func()) {
	t.Helper()
	x := &restartable{begun: make(chan struct{}, 10), ends: make(chan error, 10)}
	r := serve(t, t.TempDir(), func(a *app) instance.Control {
		x.app = a
		return x
	})
	return x, r.registration, r.end
}

type restarted struct {
	instance.Restarted
	err error
}

func restart(ctx context.Context, c *instance.Client) <-chan restarted {
	done := make(chan restarted, 1)
	go func() {
		how, err := c.Restart(ctx)
		done <- restarted{how, err}
	}()
	return done
}

func TestRestartWaitsUntilTheNewProcessIsReady(t *testing.T) {
	t.Parallel()
	x, r, _ := runRestartable(t)
	c := instance.Dial(r.Entry())
	lines := make(chan instance.Progress, 100)
	c.Progress = func(p instance.Progress) { lines <- p }
	done := restart(t.Context(), c)
	within.Receive(t, x.begun)
	if err := r.Update(func(e *rundir.Entry) { e.State = "restarting" }); err != nil {
		t.Fatal(err)
	}
	for p := within.Receive(t, lines); p.State != "restarting"; p = within.Receive(t, lines) {
		if p.Last {
			t.Fatalf("last line %+v before the end", p)
		}
	}
	for range 2 { // nothing changes: it says that it lives
		if p := within.Receive(t, lines); p.Last || p.State != "restarting" {
			t.Errorf("heartbeat %+v", p)
		}
	}
	select {
	case got := <-done:
		t.Fatalf("Restart returned %+v before the process was ready", got)
	default:
	}
	if err := r.Update(func(e *rundir.Entry) { e.State, e.Restarts = "ready", 3 }); err != nil {
		t.Fatal(err)
	}
	x.ends <- nil
	got := within.Receive(t, done)
	if got.err != nil || got.Restarts != 3 || got.Took <= 0 {
		t.Errorf("Restart = %+v, %v, want 3 restarts", got.Restarted, got.err)
	}
}

func TestWhyItWasNotRestartedIsPassedOn(t *testing.T) {
	t.Parallel()
	x, r, _ := runRestartable(t)
	x.ends <- &apperr.Error{Reason: apperr.AppUnreachable, What: "todo-api was not built", Cause: "exit 1", Hint: "mend it"}
	got := within.Receive(t, restart(t.Context(), instance.Dial(r.Entry())))
	var e *apperr.Error
	if !errors.As(got.err, &e) || e.Reason != apperr.AppUnreachable || e.What != "todo-api was not built" || e.Hint != "mend it" {
		t.Errorf("Restart = %v, want the instance's own error", got.err)
	}
}

func TestWhatHasNoProcessIsNotRestarted(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	got := within.Receive(t, restart(t.Context(), instance.Dial(x.registration.Entry())))
	if !apperr.Is(got.err, apperr.Usage) || apperr.From(got.err).What != "todo-api's app is not run by pillion" {
		t.Errorf("Restart = %v", got.err)
	}
}

func TestRestartOfOneThatIsGoneSaysSo(t *testing.T) {
	t.Parallel()
	_, r, end := runRestartable(t)
	entry := r.Entry()
	end()
	if got := within.Receive(t, restart(t.Context(), instance.Dial(entry))); !apperr.Is(got.err, apperr.NoSuchApp) {
		t.Errorf("Restart = %v, want NO_SUCH_APP", got.err)
	}
}

// The instance is stopped while it restarts: whoever waits hears of it.
func TestTheEndOfTheInstanceEndsTheWaitForARestart(t *testing.T) {
	t.Parallel()
	x, r, end := runRestartable(t)
	done := restart(t.Context(), instance.Dial(r.Entry()))
	within.Receive(t, x.begun)
	end()
	if got := within.Receive(t, done); got.err == nil {
		t.Error("Restart has no error though the instance is gone")
	}
}

func TestRestartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	x, r, _ := runRestartable(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	done := restart(ctx, instance.Dial(r.Entry()))
	within.Receive(t, x.begun)
	cancel(enough)
	if got := within.Receive(t, done); !errors.Is(got.err, enough) {
		t.Errorf("Restart = %v, want %v", got.err, enough)
	}
}

func TestTwoMayAskForARestart(t *testing.T) {
	t.Parallel()
	x, r, _ := runRestartable(t)
	one := restart(t.Context(), instance.Dial(r.Entry()))
	two := restart(t.Context(), instance.Dial(r.Entry()))
	within.Receive(t, x.begun)
	within.Receive(t, x.begun)
	x.ends <- nil
	x.ends <- nil
	for _, done := range []<-chan restarted{one, two} {
		if got := within.Receive(t, done); got.err != nil {
			t.Error(got.err)
		}
	}
}
