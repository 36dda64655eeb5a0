package grpcapi_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/runtime/grpcapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

const patience = time.Minute

// serve is a client's connection to a service that Go's own HTTP/2 carries.
func serve(t *testing.T, cfg grpcapi.Config) *grpc.ClientConn {
	t.Helper()
	self, err := identity.New("public", "default", "todo-api")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Self = self
	if cfg.Invoke == nil {
		cfg.Invoke = invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			t.Error("an app was called")
			return nil, context.Canceled
		})
	}
	if cfg.Metadata == nil {
		cfg.Metadata = func() grpcapi.Metadata { return grpcapi.Metadata{ID: "todo-api"} }
	}
	service := grpcapi.New(cfg)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: service, Protocols: &protocols, ReadHeaderTimeout: patience}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln) // it ends with Close
	}()
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close() // its calls are over
		_ = srv.Close()  // nothing is served any more
		service.Close()
		<-done
	})
	return conn
}

func client(t *testing.T, cfg grpcapi.Config) runtimev1.DaprClient {
	return runtimev1.NewDaprClient(serve(t, cfg))
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A problem is an error as a client sees it: its message may go on after a *, and
// reason is of its ErrorInfo, "" for an error without details.
type problem struct {
	code            codes.Code
	message, reason string
}

// want checks an error.
func want(t *testing.T, what string, err error, p problem) {
	t.Helper()
	got := status.Convert(err)
	beginning, open := strings.CutSuffix(p.message, "*")
	if got.Code() != p.code || !strings.HasPrefix(got.Message(), beginning) || !open && got.Message() != beginning {
		t.Errorf("%s: %v, want %v", what, err, p)
	}
	var found string
	for _, d := range got.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			found = info.GetReason()
			if info.GetDomain() != "dapr.io" {
				t.Errorf("%s: the domain %q", what, info.GetDomain())
			}
		}
	}
	if found != p.reason || p.reason == "" && len(got.Details()) > 0 {
		t.Errorf("%s: details %v, want %q", what, got.Details(), p.reason)
	}
}
