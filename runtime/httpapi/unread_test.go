package httpapi_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A client that keeps its connection may ask again after a call that failed
// with its body unread, whichever engine serves it.
func TestTheNextRequestFollowsAFailureWithTheBodyUnread(t *testing.T) {
	t.Parallel()
	for name, standard := range map[string]bool{"fast": false, "standard": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, httpapi.Config{
				Standard: standard,
				Invoke: invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
					_ = c.Body.Close() // unread
					return nil, &apperr.Error{Reason: apperr.AppNotFound, What: "no app", Reached: apperr.ReachedNo}
				}),
			})
			w := dial(t, addr)
			for range 3 {
				w.send(t, "POST /v1.0/invoke/nobody/method/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
				r, body := w.response(t, http.MethodPost)
				if r.StatusCode != http.StatusInternalServerError || r.Close {
					t.Fatalf("%d, close %v: %s", r.StatusCode, r.Close, body)
				}
			}
		})
	}
}
