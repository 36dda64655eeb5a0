package app_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
)

// The system makes a connection before the app takes it, and throws it away if
// the app's port is closed meanwhile. That is a closed port like any other: the
// call waits for the app. Only one that was written may fail.
func TestACallMeetsAPortThatIsBeingClosed(t *testing.T) {
	t.Parallel()
	const cycles, callers = 60, 8
	port := porttest.Reserve(t)
	a, _ := runApp(t, app.Config{Port: port.Number()})
	var answered atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() {
			for ctx.Err() == nil {
				ans, err := a.Serve(ctx, post("/", "body"))
				switch {
				case err == nil:
					_, _ = io.Copy(io.Discard, ans.Body)
					_ = ans.Body.Close()
					answered.Add(1)
				case ctx.Err() == nil && apperr.From(err).Reached == apperr.ReachedNo:
					t.Errorf("a call that reached nobody failed: %v", err)
				}
			}
		})
	}
	for range cycles {
		s := &http.Server{Handler: http.NotFoundHandler()}
		s.SetKeepAlivesEnabled(false) // each call has a connection of its own
		served := make(chan error, 1)
		ln := port.Listen(t)
		go func() { served <- s.Serve(ln) }()
		before := answered.Load()
		within.Until(t, "calls are answered", func() bool { return answered.Load() >= before+callers })
		_ = s.Close() // with all that it has
		_ = within.Receive(t, served)
	}
	stop()
	calls.Wait()
}
