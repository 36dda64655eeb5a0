package grpcapi_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/apilist"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/grpcapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// What the lists do not offer is unimplemented in Dapr's words; streams too.
func TestAllowAndDenyLists(t *testing.T) {
	t.Parallel()
	rule := func(name, version string) []config.APIRule {
		return []config.APIRule{{Name: name, Version: version, Protocol: "grpc"}}
	}
	for what, c := range map[string]struct {
		lists            config.APILists
		metadata, invoke bool
	}{
		"metadata allowed": {config.APILists{Allowed: rule("metadata", "v1")}, true, false},
		"metadata denied":  {config.APILists{Denied: rule("metadata", "v1")}, false, true},
		"for HTTP only":    {config.APILists{Allowed: []config.APIRule{{Name: "state", Version: "v1", Protocol: "http"}}}, true, true},
	} {
		cl := client(t, grpcapi.Config{Offers: apilist.New(c.lists, apilist.GRPC), Invoke: answering(200, nil, "fine")})
		_, err := cl.GetMetadata(patient(t), &runtimev1.GetMetadataRequest{})
		offered(t, what+": metadata", err, c.metadata)
		_, err = cl.InvokeService(patient(t), &runtimev1.InvokeServiceRequest{Id: "a", Message: &commonv1.InvokeRequest{}})
		offered(t, what+": invoke", err, c.invoke)
	}
	cl := client(t, grpcapi.Config{Offers: apilist.New(config.APILists{Denied: rule("crypto", "v1alpha1")}, apilist.GRPC)})
	stream, err := cl.EncryptAlpha1(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	offered(t, "a stream", err, false)
}

func offered(t *testing.T, what string, err error, yes bool) {
	t.Helper()
	if yes {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	want(t, what, err, problem{codes.Unimplemented, "Not Implemented", "Not Implemented"})
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			if diff := cmp.Diff(map[string]string{"http.code": "501", "http.error_message": "requested endpoint is not available"}, info.GetMetadata()); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", what, diff)
			}
		}
	}
}

// Every method of Dapr's is in a group that rules can name.
func TestEveryMethodCanBeNamedByARule(t *testing.T) {
	t.Parallel()
	only := apilist.New(config.APILists{Allowed: []config.APIRule{{Name: "nothing", Version: "v1", Protocol: "grpc"}}}, apilist.GRPC)
	conn := serve(t, grpcapi.Config{Offers: only})
	for _, d := range runtimev1.Dapr_ServiceDesc.Methods {
		s := types(d.MethodName)
		offered(t, d.MethodName, conn.Invoke(patient(t), "/dapr.proto.runtime.v1.Dapr/"+d.MethodName, s.request, s.answer), false)
	}
}

// answering is an app.
func answering(code int, fields invoke.Fields, body string) invoke.Handler {
	return invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		return &invoke.Answer{Status: code, Fields: fields, Body: invoke.BytesBody([]byte(body)), Length: int64(len(body))}, nil
	})
}

// Each call has a line of the API log, of those that fail too.
func TestAPILog(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var lines []grpcapi.APICall
	cl := client(t, grpcapi.Config{
		Invoke: answering(404, nil, "none"),
		APILog: func(c grpcapi.APICall) {
			mu.Lock()
			defer mu.Unlock()
			c.Took = 0
			c.UserAgent, _, _ = strings.Cut(c.UserAgent, "/")
			lines = append(lines, c)
		},
	})
	_, _ = cl.GetMetadata(patient(t), &runtimev1.GetMetadataRequest{})
	_, _ = cl.InvokeService(patient(t), &runtimev1.InvokeServiceRequest{Id: "notify", Message: &commonv1.InvokeRequest{}})
	stream, err := cl.DecryptAlpha1(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&runtimev1.DecryptRequest{}); err != nil {
		t.Fatal(err)
	}
	_, _ = stream.Recv()
	const service = "/dapr.proto.runtime.v1.Dapr/"
	wanted := []grpcapi.APICall{
		{Method: service + "GetMetadata", Code: 0, UserAgent: "grpc-go"},
		{Method: service + "InvokeService", Code: 5, UserAgent: "grpc-go", Target: "notify"},
		{Method: service + "DecryptAlpha1", Code: 3, UserAgent: "grpc-go"},
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(wanted, lines); diff != "" {
		t.Errorf("lines (-want +got)\n%s", diff)
	}
}

// Messages have a size, both ways.
func TestMessageSizes(t *testing.T) {
	t.Parallel()
	in := func(size int) *runtimev1.InvokeServiceRequest {
		return &runtimev1.InvokeServiceRequest{Id: "a", Message: &commonv1.InvokeRequest{Data: &anypb.Any{Value: make([]byte, size)}}}
	}
	for what, c := range map[string]struct {
		limit, sent, answered int
		want                  codes.Code
	}{
		"Dapr's own":         {0, 4<<20 - 100, 4<<20 - 100, codes.OK},
		"a request too long": {0, 4 << 20, 0, codes.ResourceExhausted},
		"an answer too long": {0, 0, 4<<20 + 1, codes.ResourceExhausted},
		"framed too long":    {1000, 0, 1000, codes.ResourceExhausted},

		"less":     {1000, 1000, 0, codes.ResourceExhausted},
		"more":     {8 << 20, 5 << 20, 5 << 20, codes.OK},
		"no bound": {-1, 5 << 20, 5 << 20, codes.OK},
	} {
		cl := client(t, grpcapi.Config{MaxMessage: c.limit, Invoke: answering(200, nil, strings.Repeat("x", c.answered))})
		out, err := cl.InvokeService(patient(t), in(c.sent), grpc.MaxCallRecvMsgSize(64<<20))
		if status.Code(err) != c.want || err == nil && len(out.GetData().GetValue()) != c.answered {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A client may compress what it sends.
func TestCompressedRequests(t *testing.T) {
	t.Parallel()
	var got string
	cl := client(t, grpcapi.Config{Invoke: invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		rest, _ := invoke.Whole(c.Body)
		got = string(rest)
		return &invoke.Answer{Status: 200, Body: invoke.BytesBody(nil)}, nil
	})})
	_, err := cl.InvokeService(patient(t), &runtimev1.InvokeServiceRequest{
		Id: "a", Message: &commonv1.InvokeRequest{Data: &anypb.Any{Value: []byte("hello")}},
	}, grpc.UseCompressor(gzip.Name))
	if err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	asked := make(chan bool, 1)
	cl := client(t, grpcapi.Config{Shutdown: func(now bool) { asked <- now }})
	for force, want := range map[string]bool{"": false, "no": false, "TRUE": true} {
		ctx := patient(t)
		if force != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "dapr-force-shutdown", force)
		}
		if _, err := cl.Shutdown(ctx, &runtimev1.ShutdownRequest{}); err != nil {
			t.Fatal(err)
		}
		if now := <-asked; now != want {
			t.Errorf("%q: at once = %v", force, now)
		}
	}
}

// What GetMetadata says is what it was given, and what SetMetadata is told.
func TestMetadata(t *testing.T) {
	t.Parallel()
	var set []string
	cl := client(t, grpcapi.Config{
		Metadata: func() grpcapi.Metadata {
			return grpcapi.Metadata{
				ID: "todo-api", RuntimeVersion: "1.2.3", EnabledFeatures: []string{"f"},
				Extended:   map[string]string{"daprRuntimeVersion": "1.2.3", "k": "v"},
				Components: []grpcapi.Component{{Name: "statestore", Type: "state.sqlite", Version: "v1", Capabilities: []string{"ETAG"}}},
				App: grpcapi.AppConnection{
					Port: 8000, Protocol: "http", ChannelAddress: "127.0.0.1", MaxConcurrency: 7,
					Health: &grpcapi.AppHealth{Path: "/healthz", Interval: "5s", Timeout: "500ms", Threshold: 3},
				},
				HTTPEndpoints: []string{"web"}, Resiliencies: []string{"mine"},
			}
		},
		SetMetadata: func(key, value string) error {
			if key == "full" {
				return &apperr.Error{Reason: apperr.Usage, What: "no room"}
			}
			set = append(set, key+"="+value)
			return nil
		},
	})
	out, err := cl.GetMetadata(patient(t), &runtimev1.GetMetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	app := out.GetAppConnectionProperties()
	if out.GetId() != "todo-api" || out.GetRuntimeVersion() != "1.2.3" || out.GetExtendedMetadata()["k"] != "v" ||
		!slices.Equal(out.GetEnabledFeatures(), []string{"f"}) || out.GetRegisteredComponents()[0].GetType() != "state.sqlite" ||
		out.GetHttpEndpoints()[0].GetName() != "web" || out.GetResiliencies()[0].GetName() != "mine" ||
		app.GetPort() != 8000 || app.GetProtocol() != "http" || app.GetChannelAddress() != "127.0.0.1" || app.GetMaxConcurrency() != 7 ||
		app.GetHealth().GetHealthCheckPath() != "/healthz" || app.GetHealth().GetHealthProbeInterval() != "5s" ||
		app.GetHealth().GetHealthProbeTimeout() != "500ms" || app.GetHealth().GetHealthThreshold() != 3 ||
		out.GetActorRuntime().GetRuntimeStatus() != runtimev1.ActorRuntime_DISABLED || out.GetActorRuntime().GetPlacement() != "placement: disconnected" {
		t.Errorf("%v", out)
	}
	if _, err := cl.SetMetadata(patient(t), &runtimev1.SetMetadataRequest{Key: "a", Value: "b"}); err != nil || !slices.Equal(set, []string{"a=b"}) {
		t.Errorf("%q, %v", set, err)
	}
	if _, err := cl.SetMetadata(patient(t), &runtimev1.SetMetadataRequest{Key: "full"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("full: %v", err)
	}
}

// A method that panics is an internal error, and the others go on.
func TestAMethodThatPanics(t *testing.T) {
	t.Parallel()
	cl := client(t, grpcapi.Config{Invoke: invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		panic("our bug")
	})})
	for range 2 {
		_, err := cl.InvokeService(patient(t), &runtimev1.InvokeServiceRequest{Id: "a", Message: &commonv1.InvokeRequest{}})
		want(t, "panic", err, problem{codes.Internal, "internal error", ""})
	}
}

// An answer that breaks off is no answer.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	t.Parallel()
	cl := client(t, grpcapi.Config{Invoke: invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		return &invoke.Answer{Status: 200, Body: invoke.NewBody(broken{}, nil), Length: 10}, nil
	})})
	_, err := cl.InvokeService(patient(t), &runtimev1.InvokeServiceRequest{Id: "a", Message: &commonv1.InvokeRequest{}})
	if got := status.Convert(err); got.Code() != codes.Internal || !strings.HasPrefix(got.Message(), "failed to invoke, id: a, err: internal: the app has gone") {
		t.Errorf("error = %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the app has gone") }
func (broken) Close() error             { return nil }

// A client can ask what there is.
func TestReflection(t *testing.T) {
	t.Parallel()
	stream, err := reflectionpb.NewServerReflectionClient(serve(t, grpcapi.Config{})).ServerReflectionInfo(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	if !slices.Contains(names, "dapr.proto.runtime.v1.Dapr") {
		t.Errorf("services = %q", names)
	}
}

// An app's bytes that are no text do not break the error that shows them.
func TestAnErrorsExcerptIsText(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ body, want string }{
		"short":        {"no", "no"},
		"no text":      {"\xff\xfe", "\uFFFD"},
		"letter cut":   {strings.Repeat("x", 62) + "ü", strings.Repeat("x", 62)},
		"letter whole": {strings.Repeat("x", 61) + "üy", strings.Repeat("x", 61) + "ü"},
		"empty":        {"", ""},
	} {
		cl := client(t, grpcapi.Config{Invoke: answering(500, nil, c.body)})
		_, err := cl.InvokeService(patient(t), &runtimev1.InvokeServiceRequest{Id: "a", Message: &commonv1.InvokeRequest{}})
		var got map[string]string
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				got = info.GetMetadata()
			}
		}
		if diff := cmp.Diff(map[string]string{"http.code": strconv.Itoa(500), "http.error_message": c.want}, got); diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", what, err, diff)
		}
	}
}
