package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// failing answers each call with e.
func failing(e *apperr.Error) invoke.Handler {
	return invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) { return nil, e })
}

func notFound() *apperr.Error {
	return &apperr.Error{
		Reason: apperr.AppNotFound, What: "no app", Dapr: "couldn't find service: notification-service",
		Cause:   "app-id notification-service not found: running here are todo-api, notify-service",
		Hint:    "did you mean notify-service?",
		Reached: apperr.ReachedNo,
	}
}

func TestErrorsAreDaprsJSONAndSayThatTheyAreOurs(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Invoke: failing(notFound())})
	for form, text := range map[string]string{
		"path":   get("POST", "/v1.0/invoke/notification-service/method/notify"),
		"header": get("POST", "/notify", "dapr-app-id: notification-service"),
	} {
		resp, body := ask(t, addr, text)
		var got apperr.Body
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %s", form, body)
		}
		const want = "failed to invoke, id: notification-service, err: couldn't find service: notification-service (app-id notification-service not found: running here are todo-api, notify-service; did you mean notify-service?)"
		if resp.StatusCode != 500 || got.ErrorCode != "ERR_DIRECT_INVOKE" || got.Message != want {
			t.Errorf("%s: %d %+v", form, resp.StatusCode, got)
		}
		if len(got.Details) != 1 || got.Details[0].Reason != apperr.AppNotFound || got.Details[0].Metadata["hop"] != "discovery" ||
			got.Details[0].Metadata["hint"] != "did you mean notify-service?" || got.Details[0].Metadata["reached"] != "no" {
			t.Errorf("%s: details %+v", form, got.Details)
		}
		if h := resp.Header; h.Get("Content-Type") != "application/json" || h.Get("Pillion-Error") != "APP_NOT_FOUND" || h.Get("Pillion-Hop") != "discovery" {
			t.Errorf("%s: header %v", form, h)
		}
	}
}

func TestEachReasonHasItsStatus(t *testing.T) {
	t.Parallel()
	for _, reason := range apperr.Reasons() {
		addr := serve(t, httpapi.Config{Invoke: failing(&apperr.Error{Reason: reason, What: "x"})})
		if resp, _ := ask(t, addr, get("GET", callX)); resp.StatusCode != reason.HTTPStatus() {
			t.Errorf("%s: %d, want %d", reason, resp.StatusCode, reason.HTTPStatus())
		}
	}
}

func TestAnAppsErrorIsItsOwn(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Invoke: answerWith(invoke.Answer{Status: 500, Length: 4}, "mine")})
	resp, body := ask(t, addr, get("GET", callX))
	if resp.StatusCode != 500 || body != "mine" || resp.Header.Get("Pillion-Error") != "" {
		t.Errorf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
}

func TestGRPCClientsGetErrorsAsStatus(t *testing.T) {
	t.Parallel()
	e := notFound()
	e.Hint = "naïve 100%"
	addr := serve(t, httpapi.Config{Invoke: failing(e), APIToken: ""})
	locked := serve(t, httpapi.Config{APIToken: "x"})
	for name, c := range map[string]struct {
		addr, path, app string
		status, message string
	}{
		"not found": {addr, "/pkg.Svc/Do", "app", "2", "couldn't find service: notification-service (app-id notification-service not found: running here are todo-api, notify-service; naïve 100%)"},
		"no app id": {addr, "/pkg.Svc/Do", "", "2", "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"},
		"Dapr's own, without": {
			addr, "/dapr.proto.runtime.v1.Dapr/Unknown", "", "2",
			"failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
		},
		"no token": {locked, "/pkg.Svc/Do", "app", "16", "Unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+c.addr+c.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/grpc+proto")
			if c.app != "" {
				req.Header.Set("dapr-app-id", c.app)
			}
			resp, err := client(t, 2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			message, err := url.PathUnescape(resp.Header.Get("Grpc-Message"))
			if resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != c.status || err != nil || c.message != "" && message != c.message {
				t.Errorf("%d %v, want status %s %q", resp.StatusCode, resp.Header, c.status, c.message)
			}
			if resp.Header.Get("Pillion-Error") == "" || resp.Header.Get("Content-Type") != "application/grpc" {
				t.Errorf("header %v", resp.Header)
			}
		})
	}
}

func TestAGRPCExchangeIsACallOfHTTP2(t *testing.T) {
	t.Parallel()
	calls := make(chan seen, 1)
	h := invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		calls <- seen{App: c.Target.App, Path: c.Path, Major: c.Major, Fields: c.Fields}
		return &invoke.Answer{Status: 200, Major: 2, Length: -1, Body: invoke.BytesBody(nil), Fields: invoke.Fields{
			{Name: "Content-Type", Value: "application/grpc"}, {Name: "grpc-status", Value: "5"},
		}}, nil
	})
	addr := serve(t, httpapi.Config{Invoke: h})
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/pkg.Svc/Do", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Dapr-App-Id": {"app.ns"}, "X-Bin": {"AA=="}}
	resp, err := client(t, 2).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	c := within.Receive(t, calls)
	if c.App != "app" || c.Path != "/pkg.Svc/Do" || c.Major != 2 || c.Fields.Get("x-bin") != "AA==" || c.Fields.Has("dapr-app-id") {
		t.Errorf("%+v", c)
	}
	if resp.Header.Get("Grpc-Status") != "5" {
		t.Errorf("header %v", resp.Header)
	}
}
