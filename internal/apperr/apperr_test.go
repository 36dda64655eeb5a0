package apperr_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// The three sentences of the lesson's table, as clients that show only the
// message get them.
func TestMessageAloneIsEnough(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  *apperr.Error
		want string
	}{
		{
			"not found",
			&apperr.Error{
				Reason: apperr.AppNotFound,
				Dapr:   "couldn't find service: notification-service",
				Cause:  "app-id notification-service not found: running here are todo-api, notify-service",
				Hint:   "did you mean notify-service?",
			},
			"failed to invoke, id: notification-service, err: couldn't find service: notification-service " +
				"(app-id notification-service not found: running here are todo-api, notify-service; did you mean notify-service?)",
		},
		{
			"refused",
			&apperr.Error{
				Reason: apperr.AppUnreachable,
				What:   "notification-service could not be reached",
				Dapr:   "connection refused",
				Cause:  "notification-service's app port 8001 is closed, its process listens on 8002",
				Hint:   "start it with --app-port 8002",
			},
			"failed to invoke, id: notification-service, err: connection refused: notification-service's app port 8001 is closed, " +
				"its process listens on 8002; start it with --app-port 8002",
		},
		{
			"too slow",
			&apperr.Error{
				Reason: apperr.DeadlineExceeded,
				Dapr:   "DEADLINE_EXCEEDED: context deadline exceeded after 5s, 4.9s of it in the app",
			},
			"failed to invoke, id: notification-service, err: DEADLINE_EXCEEDED: context deadline exceeded after 5s, 4.9s of it in the app",
		},
		{
			"no target: Dapr gives it without the template",
			&apperr.Error{Reason: apperr.TargetMissing, What: "no app id"},
			"no app id",
		},
	} {
		body := test.err.InvokeBody("notification-service")
		if body.Message != test.want {
			t.Errorf("%s: message = %q, want %q", test.name, body.Message, test.want)
		}
		if body.ErrorCode != "ERR_DIRECT_INVOKE" {
			t.Errorf("%s: errorCode = %q", test.name, body.ErrorCode)
		}
	}
}

func TestDetailsSayTheSameStructured(t *testing.T) {
	t.Parallel()
	e := &apperr.Error{
		Reason: apperr.PeerUnreachable, Cause: "127.0.0.1:1 refused the connection", Hint: "pillion logs x",
		Reached: apperr.ReachedNo, Instance: "abcdefgh",
	}
	got, err := json.Marshal(e.Details())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"PEER_UNREACHABLE","domain":"pillion.dev",` +
		`"metadata":{"cause":"127.0.0.1:1 refused the connection","hint":"pillion logs x","hop":"network","instance":"abcdefgh","reached":"no"}}]`
	if string(got) != want {
		t.Errorf("details = %s\nwant      %s", got, want)
	}
}

func TestErrorCrossesTheMeshWhole(t *testing.T) {
	t.Parallel()
	sent := &apperr.Error{
		Reason: apperr.HoldExceeded, What: "w", Dapr: "d", Cause: "c", Hint: "h", Run: []string{"pillion", "list"},
		Hop: apperr.HopApp, Reached: apperr.ReachedNo, Instance: "i", Err: errors.New("stays at home"),
	}
	wire, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	got := new(apperr.Error)
	if err := json.Unmarshal(wire, got); err != nil {
		t.Fatal(err)
	}
	if got.Error() != sent.Error() || got.Message() != sent.Message() || got.Reason != sent.Reason ||
		got.At() != sent.At() || got.Reached != sent.Reached || got.Instance != sent.Instance {
		t.Errorf("got %+v, sent %+v", got, sent)
	}
	if got.Err != nil {
		t.Errorf("the error underneath crossed the mesh: %v", got.Err)
	}
}

// A newer peer may know more reasons, and a broken one may say nothing of how
// far the call came: neither may make a call look safe to repeat.
func TestUnknownReasonIsInternalAndMaybeReached(t *testing.T) {
	t.Parallel()
	for _, wire := range []string{`{"reason":"FROM_THE_FUTURE"}`, `{"reason":"FROM_THE_FUTURE","reached":"maybe"}`, `{}`} {
		got := new(apperr.Error)
		if err := json.Unmarshal([]byte(wire), got); err != nil {
			t.Fatal(err)
		}
		if got.Reason != apperr.Internal || got.Reached != apperr.ReachedMaybe {
			t.Errorf("%s: reason %s, reached %s; want INTERNAL, maybe", wire, got.Reason, got.Reached)
		}
	}
}

func TestUnmarkedErrorIsOurs(t *testing.T) {
	t.Parallel()
	if got := apperr.From(nil); got != nil {
		t.Errorf("From(nil) = %v", got)
	}
	plain := errors.New("boom")
	got := apperr.From(plain)
	if got.Reason != apperr.Internal || !errors.Is(got, plain) || got.What != "internal: boom" {
		t.Errorf("From(plain) = %+v", got)
	}
	marked := &apperr.Error{Reason: apperr.AppNotFound, What: "no app"}
	if got := apperr.From(fmt.Errorf("call: %w", marked)); got != marked {
		t.Errorf("From(wrapped) = %v, want the error itself", got)
	}
	if !apperr.Is(fmt.Errorf("call: %w", marked), apperr.AppNotFound) || apperr.Is(plain, apperr.Internal) {
		t.Error("Is does not look at the chain, or takes an unmarked error for a marked one")
	}
}

// Dapr's clients look at these statuses; scripts look at the exits.
func TestEveryReasonHasItsRow(t *testing.T) {
	t.Parallel()
	hops := map[apperr.Hop]bool{}
	for _, hop := range apperr.Hops {
		hops[hop] = true
	}
	for _, r := range apperr.Reasons() {
		e := &apperr.Error{Reason: r}
		if !hops[e.At()] {
			t.Errorf("%s fails at no known hop: %q", r, e.At())
		}
		if status := r.HTTPStatus(); status < 400 || status > 599 {
			t.Errorf("%s answers %d", r, status)
		}
		if exit := r.ExitStatus(); exit <= 0 || exit > 130 {
			t.Errorf("%s exits with %d", r, exit)
		}
		if r.Code() == "" || r.GRPC() == 0 {
			t.Errorf("%s has no code", r)
		}
	}
	for r, want := range map[apperr.Reason]int{
		apperr.AppNotFound: 70, apperr.DiscoveryFailed: 71, apperr.PeerUnreachable: 72, apperr.PeerNotTrusted: 73,
		apperr.AccessDenied: 74, apperr.DeadlineExceeded: 75, apperr.AppUnreachable: 76, apperr.ProtocolError: 77,
		apperr.OwnConfig: 78, apperr.NoSuchApp: 3, apperr.Usage: 2, apperr.Cancelled: 130,
	} {
		if got := r.ExitStatus(); got != want {
			t.Errorf("%s exits with %d, want %d", r, got, want)
		}
	}
	if got := apperr.AppNotFound.HTTPStatus(); got != 500 {
		t.Errorf("an unknown app answers %d; Dapr answers 500", got)
	}
}
