package app_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An app that was told the time left and gives up with it, just before we do,
// is late and has not gone.
func TestAnAppThatGivesUpWithTheTimeIsLate(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		var deadline time.Time
		port := serveH2C(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			<-time.After(time.Until(deadline.Add(-2 * time.Millisecond)))
			panic(http.ErrAbortHandler)
		}))
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "grpc"})
		within.Until(t, "ready", func() bool { return a.State() == discovery.Ready })
		deadline = time.Now().Add(2 * time.Second) // ample for the call to get there
		ctx, cancel := context.WithDeadline(t.Context(), deadline)
		defer cancel()
		_, err := a.Serve(ctx, &invoke.Call{Verb: "POST", Path: "/x", Major: 2, Only: true})
		if told, ok := errors.AsType[*apperr.Error](err); !ok || told.Reason != apperr.DeadlineExceeded || told.Reached != apperr.ReachedMaybe {
			t.Errorf("the call: %v", err)
		}
	})
}
