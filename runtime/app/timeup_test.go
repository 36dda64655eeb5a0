package app_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A limited is the context of a call whose time is up when the test says so: on a
// busy machine a real limit may pass before the call gets anywhere.
type limited struct {
	context.Context
	deadline atomic.Pointer[time.Time]
	over     chan struct{}
	end      func()
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	l := &limited{Context: within.Context(t), over: make(chan struct{})}
	l.limit(time.Now().Add(time.Hour))
	l.end = sync.OnceFunc(func() { close(l.over) })
	context.AfterFunc(l.Context, l.end)
	return l
}

func (l *limited) limit(deadline time.Time) { l.deadline.Store(&deadline) }

func (l *limited) Deadline() (time.Time, bool) { return *l.deadline.Load(), true }
func (l *limited) Done() <-chan struct{}       { return l.over }

func (l *limited) Err() error {
	select {
	case <-l.over:
		return context.DeadlineExceeded
	default:
		return l.Context.Err()
	}
}

// An app that was told the time left and gives up with it, just before we do,
// is late and has not gone.
func TestAnAppThatGivesUpWithTheTimeIsLate(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		ctx := newLimited(t)
		port := serveH2C(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			ctx.limit(time.Now().Add(2 * time.Millisecond))
			panic(http.ErrAbortHandler)
		}))
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "grpc"})
		_, err := a.Serve(ctx, &invoke.Call{Verb: "POST", Path: "/x", Major: 2, Only: true})
		if told, ok := errors.AsType[*apperr.Error](err); !ok || told.Reason != apperr.DeadlineExceeded || told.Reached != apperr.ReachedMaybe {
			t.Errorf("the call: %v", err)
		}
	})
}
