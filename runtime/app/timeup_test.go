package app_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An app that was told the time left and gives up with it, just before we do,
// is late and has not gone.
func TestAnAppThatGivesUpWithTheTimeIsLate(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		ctx := within.Limited(t)
		port := serveH2C(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			ctx.Move(time.Now().Add(2 * time.Millisecond))
			panic(http.ErrAbortHandler)
		}))
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "grpc"})
		_, err := a.Serve(ctx, &invoke.Call{Verb: "POST", Path: "/x", Major: 2, Only: true})
		if told, ok := errors.AsType[*apperr.Error](err); !ok || told.Reason != apperr.DeadlineExceeded || told.Reached != apperr.ReachedMaybe {
			t.Errorf("the call: %v", err)
		}
	})
}
