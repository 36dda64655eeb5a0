package grpcload_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/scripts/internal/grpcload"
	"github.com/pillion-dev/pillion/scripts/internal/smallapp"
)

// app runs the small app until the test ends, and says its address.
func app(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- smallapp.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := within.Receive(t, ended); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// ran is what comes of a load that may take as long as enough needs to hold: a
// busy machine makes few calls in a short time.
func ran(t *testing.T, l grpcload.Load, enough func(grpcload.Result) bool) grpcload.Result {
	t.Helper()
	for l.Duration = 100 * time.Millisecond; ; l.Duration *= 4 {
		r, err := grpcload.Run(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if enough(r) || l.Duration > within.Patience/4 {
			return r
		}
	}
}

func TestLoadsOfAllShapesAreAnswered(t *testing.T) {
	t.Parallel()
	address := app(t)
	for name, l := range map[string]grpcload.Load{
		"small":      {Path: "Notify", Message: 54, Connections: 2, Streams: 1},
		"empty":      {Path: "Notify", Connections: 1, Streams: 1},
		"many":       {Path: "Notify", Message: 54, Connections: 1, Streams: 40},
		"large up":   {Path: "Notify", Message: 3 << 20, Connections: 2, Streams: 3},
		"large down": {Path: "Bytes3000000", Message: 1, Connections: 2, Streams: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l.Address, l.Path = address, smallapp.Service+l.Path
			r := ran(t, l, func(r grpcload.Result) bool { return r.Calls > 1 || r.Failed > 0 })
			if r.Calls == 0 || r.Failed > 0 || r.P50 <= 0 || r.P50 > r.P90 || r.P90 > r.P99 {
				t.Errorf("Run = %+v, want calls, none failed, and rising latencies", r)
			}
		})
	}
}

func TestCallsThatEndBadlyAreCountedAndSaid(t *testing.T) {
	t.Parallel()
	l := grpcload.Load{
		Address: app(t), Path: smallapp.Service + "Unknown", Connections: 1, Streams: 2,
	}
	r := ran(t, l, func(r grpcload.Result) bool { return r.Calls > 0 || r.Failed > 0 })
	if r.Calls != 0 || r.Failed == 0 || !strings.HasPrefix(r.Cause, "gRPC status 12") {
		t.Errorf("Run = %+v, want only failures with status 12", r)
	}
}

// A server that ends its connections is called again on new ones.
func TestALostConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(make([]byte, 5))
		w.Header().Set("Grpc-Status", "0")
	})}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := within.Receive(t, ended); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	l := grpcload.Load{Address: ln.Addr().String(), Path: "/a/b", Connections: 1, Streams: 1}
	r := ran(t, l, func(r grpcload.Result) bool { return r.Calls > 1 })
	if r.Calls < 2 {
		t.Errorf("Run = %+v, want several calls", r)
	}
}

func TestALoadThatCannotBeginIsAnError(t *testing.T) {
	t.Parallel()
	address := porttest.Reserve(t).Addr()
	for _, l := range []grpcload.Load{
		{Address: address, Connections: 2, Streams: 1, Duration: time.Second},
		{Address: address, Streams: 1, Duration: time.Second},
	} {
		if r, err := grpcload.Run(t.Context(), l); err == nil {
			t.Errorf("Run(%+v) = %+v, want an error", l, r)
		}
	}
}

func TestResultsSurviveTheirWayHome(t *testing.T) {
	t.Parallel()
	want := grpcload.Result{Calls: 3, Elapsed: time.Second, Failed: 1, Cause: "x", P50: 1, P90: 2, P99: 3}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := grpcload.ParseResult(text); err != nil || got != want {
		t.Errorf("ParseResult = %+v, %v, want %+v", got, err, want)
	}
	if _, err := grpcload.ParseResult([]byte("panic: no")); err == nil {
		t.Error("ParseResult of something else gave no error")
	}
}
