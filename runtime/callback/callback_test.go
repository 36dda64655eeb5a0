package callback_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/callback"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// An app answers with what it is told to, and notes what it got.
type app struct {
	answer *invoke.Answer
	err    error
	got    *invoke.Call
}

func (a *app) Serve(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	a.got = c
	return a.answer, a.err
}

// A body has what a gRPC answer's has: bytes and trailers.
type body struct {
	io.Reader
	trailers invoke.Fields
	closed   bool
}

func (b *body) Close() error            { b.closed = true; return nil }
func (b *body) Trailers() invoke.Fields { return b.trailers }

func grpcAnswer(data string, trailers ...string) *invoke.Answer {
	return &invoke.Answer{
		Status: 200, Fields: fields("content-type", "application/grpc", "x-app", "v"), Length: -1,
		Body: &body{Reader: strings.NewReader(data), trailers: fields(trailers...)},
	}
}

func fields(pairs ...string) invoke.Fields {
	var f invoke.Fields
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}

func response(t *testing.T) string {
	t.Helper()
	data, err := proto.Marshal(&commonv1.InvokeResponse{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	return string(rpc.Frame(data))
}

func stage(o callback.Options, a *app) invoke.Handler {
	o.Name = "orders"
	return callback.Stage(o)(a)
}

var overGRPC = callback.Options{SpeaksGRPC: true, MaxMessage: 100}

// Whatever is wrong with an app's answer is a status that says so, as HTTP.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	good := response(t)
	for what, c := range map[string]struct {
		answer *invoke.Answer
		status int
		want   string
	}{
		"fine":               {grpcAnswer(good, "grpc-status", "0"), 200, ""},
		"no message":         {grpcAnswer("", "grpc-status", "0"), 500, `{"code":13,"message":"orders answered without a message"}`},
		"no status":          {grpcAnswer(good), 500, `{"code":13,"message":"the app ended its answer without a status"}`},
		"a status in words":  {grpcAnswer(good, "grpc-status", "fine"), 500, `{"code":13,"message":"the app's status is no number: \"fine\""}`},
		"half a frame":       {grpcAnswer(good[:4]), 500, `{"code":13,"message":"the answer ends within a message"}`},
		"half a message":     {grpcAnswer(good[:len(good)-1]), 500, `{"code":13,"message":"the answer ends within a message"}`},
		"two messages":       {grpcAnswer(good+good, "grpc-status", "0"), 500, `{"code":13,"message":"more than one message in a unary answer"}`},
		"compressed":         {grpcAnswer("\x01"+good[1:], "grpc-status", "0"), 500, `{"code":13,"message":"the answer is compressed, which was not asked for"}`},
		"too large":          {grpcAnswer("\x00\x00\x00\x00\x65", "grpc-status", "0"), 429, `{"code":8,"message":"grpc: received message larger than max (101 vs. 100)"}`},
		"another message":    {grpcAnswer("\x00\x00\x00\x00\x01\xff", "grpc-status", "0"), 500, `"orders's answer is no InvokeResponse: `},
		"status in the head": {&invoke.Answer{Status: 200, Fields: fields("content-type", "application/grpc", "grpc-status", "5", "grpc-message", "no%20%C3%BC%"), Body: invoke.BytesBody(nil)}, 404, `{"code":5,"message":"no ü%"}`},
	} {
		a := &app{answer: c.answer}
		answer, err := stage(overGRPC, a).Serve(t.Context(), &invoke.Call{Verb: "GET", Path: "/m"})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		data, err := io.ReadAll(answer.Body)
		if err != nil || answer.Status != c.status || !strings.Contains(string(data), c.want) || answer.Length != int64(len(data)) {
			t.Errorf("%s: %d %s, %v; want %d %s", what, answer.Status, data, err, c.status, c.want)
		}
		if b, ok := c.answer.Body.(*body); ok && !b.closed {
			t.Errorf("%s: the app's answer was left open", what)
		}
	}
}

// Errors keep what they say of how far the call came; that an app is not there
// has Dapr's status for apps that speak gRPC.
func TestErrorsOfTheApp(t *testing.T) {
	t.Parallel()
	for reason, want := range map[apperr.Reason]apperr.Reason{
		apperr.AppUnreachable: apperr.GRPCAppUnavailable, apperr.AppGone: apperr.GRPCAppUnavailable,
		apperr.AppHasNoPort: apperr.AppHasNoPort, apperr.DeadlineExceeded: apperr.DeadlineExceeded, apperr.Refused: apperr.Refused,
	} {
		for _, reached := range []apperr.Reached{apperr.ReachedNo, apperr.ReachedMaybe} {
			given := &apperr.Error{Reason: reason, What: "w", Cause: "c", Reached: reached}
			_, err := stage(overGRPC, &app{err: given}).Serve(t.Context(), &invoke.Call{Verb: "GET", Path: "/m"})
			if e := apperr.From(err); e.Reason != want || e.Reached != reached || e.What != "w" || e.Cause != "c" {
				t.Errorf("%s: %+v", reason, e)
			}
			if given.Reason != reason {
				t.Errorf("%s was changed", reason)
			}
		}
	}
	a := &app{answer: &invoke.Answer{Status: 404, Fields: fields("content-type", "text/html"), Body: invoke.BytesBody(nil)}}
	_, err := stage(overGRPC, a).Serve(t.Context(), &invoke.Call{Verb: "GET", Path: "/m"})
	if e := apperr.From(err); e.Reason != apperr.ProtocolError || e.Cause != `the status 404 and the type "text/html"` {
		t.Errorf("an app that speaks HTTP: %+v", e)
	}
}

// A body that cannot be put into a message does not reach the app.
func TestBodiesThatDoNotFit(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		body   io.Reader
		length int64
		want   apperr.Reason
	}{
		"announced too long": {strings.NewReader("x"), 101, apperr.BodyTooLarge},
		"too long":           {strings.NewReader(strings.Repeat("x", 101)), -1, apperr.BodyTooLarge},
		"breaks off":         {io.MultiReader(strings.NewReader("x"), failing{}), -1, apperr.Cancelled},
	} {
		a := &app{}
		_, err := stage(overGRPC, a).Serve(t.Context(), &invoke.Call{Verb: "POST", Path: "/m", Body: &body{Reader: c.body}, Length: c.length})
		if e := apperr.From(err); e.Reason != c.want || e.Reached != apperr.ReachedNo || a.got != nil {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("gone") }

// What is gRPC already, and what is for an app that speaks HTTP, passes as it
// is.
func TestCallsThatPass(t *testing.T) {
	t.Parallel()
	fine := &invoke.Answer{Status: 201, Body: invoke.BytesBody(nil)}
	exchange := &invoke.Call{Verb: "POST", Path: "/own.Service/Method", Fields: fields("content-type", "application/grpc+proto", "x-bin", "AAE")}
	plain := &invoke.Call{Verb: "PUT", Path: "/m?q", Fields: fields("x-bin", "AAE")}
	for _, c := range []struct {
		o    callback.Options
		call *invoke.Call
	}{{overGRPC, exchange}, {callback.Options{}, exchange}, {callback.Options{}, plain}} {
		a := &app{answer: fine}
		before := *c.call
		answer, err := stage(c.o, a).Serve(t.Context(), c.call)
		if err != nil || answer != fine || a.got != c.call || cmp.Diff(before.Fields, c.call.Fields) != "" {
			t.Errorf("%s: %v, %v", c.call.Path, answer, err)
		}
	}
}

// InvokeService needs a verb to call an app that speaks HTTP, which gets no
// binary metadata.
func TestInvokeServiceOverHTTP(t *testing.T) {
	t.Parallel()
	a := &app{answer: &invoke.Answer{Status: 200, Body: invoke.BytesBody(nil)}}
	h := stage(callback.Options{}, a)
	call := &invoke.Call{Verb: "PUT", Path: "/m", RPC: &invoke.RPC{Extended: true}, Fields: fields("X-One", "1", "X-Raw-Bin", "AAE", "Grpc-Trace-Bin", "AA")}
	if _, err := h.Serve(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fields("X-One", "1"), a.got.Fields); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for extended, text := range map[bool]string{true: "invalid HTTP verb", false: "missing HTTP extension field"} {
		a.got = nil
		_, err := h.Serve(t.Context(), &invoke.Call{Verb: invoke.VerbNone, Path: "/m", RPC: &invoke.RPC{Extended: extended}})
		if e := apperr.From(err); e.Reached != apperr.ReachedNo || !strings.HasSuffix(e.Dapr, text) || a.got != nil {
			t.Errorf("%v: %+v", extended, e)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	empty := string(rpc.Frame(nil))
	for what, c := range map[string]struct {
		app  *app
		want string // in the error; "" if the app is well
	}{
		"well":            {&app{answer: grpcAnswer(empty, "grpc-status", "0")}, ""},
		"without method":  {&app{answer: grpcAnswer("", "grpc-status", "12", "grpc-message", "unknown")}, "unknown"},
		"not well":        {&app{answer: grpcAnswer("", "grpc-status", "14", "grpc-message", "busy")}, "busy"},
		"speaks HTTP":     {&app{answer: &invoke.Answer{Status: 404, Body: invoke.BytesBody(nil)}}, "status 404"},
		"not there":       {&app{err: errors.New("refused")}, "refused"},
		"answers nothing": {&app{answer: grpcAnswer("\x00")}, "ends within a message"},
	} {
		err := callback.Health(t.Context(), c.app)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if c.app.got.Path != "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck" || c.app.got.Verb != "POST" {
			t.Errorf("%s: %+v", what, c.app.got)
		}
	}
}
