package sdktest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// What the sidecars of a scene are called.
const (
	selfID    = "caller"
	httpAppID = "orders"
	grpcAppID = "vault"
	storeName = "statestore"
)

// said is what both apps answer to echo.
type said struct {
	Verb string `json:"verb"`
	Path string `json:"path,omitempty"`
	Body string `json:"body"`
}

// httpApp is an app without any SDK.
func httpApp(t *testing.T) (port string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, ok := strings.CutPrefix(r.URL.Path, "/status/"); ok {
			n, err := strconv.Atoi(code)
			if err != nil {
				n = http.StatusInternalServerError
			}
			w.WriteHeader(n)
			_, _ = io.WriteString(w, "nothing here") // a client that is gone is not ours to tell
			return
		}
		body, _ := io.ReadAll(r.Body) // as far as it came
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(said{r.Method, r.URL.RequestURI(), string(body)}) // likewise
	}))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// grpcApp is an app that implements Dapr's callback without any SDK.
type grpcApp struct {
	runtimev1.UnimplementedAppCallbackServer
}

func (grpcApp) OnInvoke(_ context.Context, r *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	if r.GetMethod() != "echo" {
		return nil, status.Error(codes.NotFound, "nothing here")
	}
	answer, err := json.Marshal(said{Verb: r.GetHttpExtension().GetVerb().String(), Body: string(r.GetData().GetValue())})
	return &commonv1.InvokeResponse{ContentType: "application/json", Data: &anypb.Any{Value: answer}}, err
}

func (grpcApp) ListTopicSubscriptions(context.Context, *emptypb.Empty) (*runtimev1.ListTopicSubscriptionsResponse, error) {
	return new(runtimev1.ListTopicSubscriptionsResponse), nil
}

// serveGRPC serves on a port of its own until the test has ended.
func serveGRPC(t *testing.T, register func(*grpc.Server)) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	register(srv)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }() // ends by Stop
	t.Cleanup(func() { srv.Stop(); <-done })
	return portOf(ln)
}

func portOf(ln net.Listener) string {
	_, port, _ := net.SplitHostPort(ln.Addr().String()) // a listener's address has one
	return port
}

// A scene is a caller's sidecar and two apps it can call.
type scene struct {
	*pilliontest.World
	caller *pilliontest.Sidecar
}

func newScene(t *testing.T, flags ...string) *scene {
	t.Helper()
	s := &scene{World: pilliontest.New(t, pillion)}
	s.Run(httpAppID, "--app-port", httpApp(t))
	s.Run(grpcAppID, "--app-port", serveGRPC(t, func(srv *grpc.Server) {
		runtimev1.RegisterAppCallbackServer(srv, grpcApp{})
		healthv1.RegisterHealthServer(srv, health.NewServer())
	}), "--app-protocol", "grpc")
	s.caller = s.Run(selfID, flags...)
	return s
}

// environ is what a client in another process is told.
func (s *scene) environ() []string {
	return append(slices.Clip(s.Env),
		"DAPR_HTTP_PORT="+port(s.caller.HTTP), "DAPR_GRPC_PORT="+port(s.caller.GRPC),
		"DAPR_HTTP_ENDPOINT=http://"+s.caller.HTTP,
		"SELF="+selfID, "HTTP_APP="+httpAppID, "GRPC_APP="+grpcAppID, "STORE="+storeName)
}

func port(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(fmt.Sprintf("%q has no port", addr)) // it is ours
	}
	return port
}
