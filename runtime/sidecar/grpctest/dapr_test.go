package grpctest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	dapr "github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	daprd "github.com/dapr/go-sdk/service/grpc"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// One connection carries Dapr's methods and an app's own, at once.
func TestOneConnectionForAll(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		errs := make(chan error, 60)
		for i := range 20 {
			go func() {
				got, err := s.ask(s.ctx(), name, fmt.Sprint(i))
				if err == nil && got != fmt.Sprint(i) {
					err = fmt.Errorf("the app's method answered %q to %d", got, i)
				}
				errs <- err
			}()
			go func() {
				m, err := s.dapr().GetMetadata(s.plainCtx(), &runtimev1.GetMetadataRequest{})
				if err == nil && m.GetId() != s.mesh.caller.id {
					err = fmt.Errorf("metadata of %q", m.GetId())
				}
				errs <- err
			}()
			go func() {
				out, err := s.dapr().InvokeService(s.plainCtx(), toInvoke(s.mesh.shop.id, "x", commonv1.HTTPExtension_POST, "text=hi&status=200", ""))
				if err == nil && string(out.GetData().GetValue()) != "hi" {
					err = fmt.Errorf("shop answered %q", out.GetData().GetValue())
				}
				errs <- err
			}()
		}
		for range 60 {
			if err := wait(s.t, "all calls end", errs); err != nil {
				s.t.Error(err)
			}
		}
	})
}

// Dapr's package is told from others by the text for a method that nobody has;
// with an app named, the app is asked.
func TestUnknownMethods(t *testing.T) {
	everywhere(t, func(s *scene) {
		for name, text := range map[string]string{
			"/dapr.proto.runtime.v1.Dapr/NotYet":                   "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
			"/dapr.proto.runtime.v1.AppCallback/OnInvoke":          "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
			"/dapr.proto.internals.v1.ServiceInvocation/CallLocal": "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
			"/grpc.health.v1.Health/Check":                         "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata",
			"/TaskHubSidecarService/Hello":                         "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata",
			"/dapr.proto.runtime.v1.Dapr/InvokeService/":           "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
		} {
			_, err := s.ask(s.plainCtx(), name, "")
			if got := status.Convert(err); got.Code() != codes.Unknown || got.Message() != text {
				s.t.Errorf("%s: %v, want %q", name, err, text)
			}
		}
		_, err := s.ask(s.ctx(), "/dapr.proto.runtime.v1.Dapr/NotYet", "")
		if got := status.Convert(err); got.Message() != "the app has no /dapr.proto.runtime.v1.Dapr/NotYet" {
			s.t.Errorf("with an app: %v", err)
		}
		if _, err := s.dapr().GetMetadata(s.ctx(), &runtimev1.GetMetadataRequest{}); err != nil {
			s.t.Errorf("Dapr's own is Dapr's own, whoever is named: %v", err)
		}
	})
}

// Who asks for no app is told what the sidecar itself has.
func TestReflectionOfTheDoor(t *testing.T) {
	everywhere(t, func(s *scene) {
		stream, err := reflectionpb.NewServerReflectionClient(s.conn).ServerReflectionInfo(s.plainCtx())
		if err != nil {
			s.t.Fatal(err)
		}
		if err := stream.Send(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"},
		}); err != nil {
			s.t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			s.t.Fatal(err)
		}
		var names []string
		for _, service := range answer.GetListServicesResponse().GetService() {
			names = append(names, service.GetName())
		}
		if !slices.Contains(names, "dapr.proto.runtime.v1.Dapr") {
			s.t.Errorf("services = %q", names)
		}
	})
}

// httpJSON asks the door over HTTP.
func httpJSON(t *testing.T, verb, url, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), verb, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s %v", verb, url, answer.StatusCode, data, err)
	}
	if len(data) == 0 {
		return nil
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// Both doors keep and tell the same.
func TestMetadataIsTheSameAtBothDoors(t *testing.T) {
	engines(t, func(s *scene) {
		own := s.mesh.sidecar(s.t, "meta", "--app-port", s.mesh.apps[0].port(), "--app-protocol", "grpc", "--app-max-concurrency", "7")
		cl := runtimev1.NewDaprClient(dial(s.t, own.grpc))
		if _, err := cl.SetMetadata(s.plainCtx(), &runtimev1.SetMetadataRequest{Key: "fromGRPC", Value: "1"}); err != nil {
			s.t.Fatal(err)
		}
		httpJSON(s.t, "PUT", "http://"+own.http+"/v1.0/metadata/fromHTTP", "2")
		m, err := cl.GetMetadata(s.plainCtx(), &runtimev1.GetMetadataRequest{})
		if err != nil {
			s.t.Fatal(err)
		}
		page := httpJSON(s.t, "GET", "http://"+own.http+"/v1.0/metadata", "")
		over := make(map[string]any)
		for key, value := range m.GetExtendedMetadata() {
			over[key] = value
		}
		if diff := cmp.Diff(page["extended"], any(over)); diff != "" || over["fromGRPC"] != "1" || over["fromHTTP"] != "2" {
			s.t.Errorf("%v (-HTTP +gRPC)\n%s", over, diff)
		}
		app := m.GetAppConnectionProperties()
		if m.GetId() != "meta" || m.GetRuntimeVersion() == "" || app.GetProtocol() != "grpc" || app.GetMaxConcurrency() != 7 || app.GetChannelAddress() == "" {
			s.t.Errorf("%v", m)
		}
		if _, err := cl.SetMetadata(s.plainCtx(), &runtimev1.SetMetadataRequest{Value: "no key"}); err != nil {
			s.t.Errorf("without a key: %v", err)
		}
	})
}

// The token protects Dapr's methods and the calls behind the door, and goes no
// further; the app gets its own.
func TestTokens(t *testing.T) {
	engines(t, func(s *scene) {
		own := s.mesh.sidecarIn(s.t, []string{"DAPR_API_TOKEN=secret"}, "locked")
		s.mesh.sidecarIn(s.t, []string{"APP_API_TOKEN=apps"}, "tokens", "--app-port", s.mesh.apps[0].port(), "--app-protocol", "grpc")
		s.conn = dial(s.t, own.grpc)
		var md metadata.MD
		name := s.onInvoke(func(stream grpc.ServerStream, _ *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			md = incoming(stream)
			return &commonv1.InvokeResponse{}, nil
		})
		calls := map[string]func(ctx context.Context) error{
			"Dapr's": func(ctx context.Context) error {
				_, err := s.dapr().GetMetadata(ctx, &runtimev1.GetMetadataRequest{})
				return err
			},
			"an app's": func(ctx context.Context) error {
				_, err := s.ask(metadata.AppendToOutgoingContext(ctx, "dapr-app-id", s.mesh.orders.id), s.method(echo), "x")
				return err
			},
			"InvokeService": func(ctx context.Context) error {
				_, err := s.dapr().InvokeService(ctx, toInvoke("tokens", name, commonv1.HTTPExtension_POST, "", ""))
				return err
			},
		}
		for what, call := range calls {
			for token, why := range map[string]string{
				"": "missing api token in request metadata", "wrong": "authentication error: api token mismatch", "secret": "",
			} {
				ctx := s.plainCtx()
				if token != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token)
				}
				err := call(ctx)
				if why == "" {
					if err != nil {
						s.t.Errorf("%s: %v", what, err)
					}
					continue
				}
				got := status.Convert(err)
				if got.Code() != codes.Unauthenticated || got.Message() != "Unauthorized" || len(got.Details()) == 0 {
					s.t.Errorf("%s with %q: %v", what, token, err)
					continue
				}
				info, _ := got.Details()[0].(*errdetails.ErrorInfo)
				if info.GetDomain() != "dapr.io" || info.GetMetadata()["http.code"] != "401" || info.GetMetadata()["http.error_message"] != why {
					s.t.Errorf("%s with %q: %v", what, token, info)
				}
			}
		}
		if diff := cmp.Diff([]string{"apps"}, md["dapr-api-token"]); diff != "" {
			s.t.Errorf("the app's token (-want +got)\n%s", diff)
		}
	})
}

// A message has a size, as daprd's flag says.
func TestSizesOfMessages(t *testing.T) {
	engines(t, func(s *scene) {
		large := strings.Repeat("x", 3<<20)
		got, _ := s.mustTell(s.plainCtx(), toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_POST, "", large))
		if got.Body != large {
			s.t.Errorf("%d bytes reached the app", len(got.Body))
		}
		for what, in := range map[string]*runtimev1.InvokeServiceRequest{
			"a request": toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_POST, "", strings.Repeat("x", 4<<20)),
			"an answer": toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_POST, "size=5000000", ""),
		} {
			if _, err := s.dapr().InvokeService(s.plainCtx(), in); status.Code(err) != codes.ResourceExhausted {
				s.t.Errorf("%s: %v", what, err)
			}
		}
		name := s.onInvoke(func(_ grpc.ServerStream, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			return &commonv1.InvokeResponse{Data: in.GetData()}, nil
		})
		if answer, body := s.overHTTP("POST", name, large); answer.StatusCode != 200 || body != large {
			s.t.Errorf("%d, %d bytes", answer.StatusCode, len(body))
		}
		if answer, body := s.overHTTP("POST", name, strings.Repeat("x", 4<<20+1), "Expect", "100-continue"); answer.StatusCode != 500 || !strings.Contains(body, "stream too large") {
			s.t.Errorf("%d %s", answer.StatusCode, body)
		}
	})
}

// A time-out is DeadlineExceeded, and ends the app's work.
func TestInvokeServiceDeadline(t *testing.T) {
	engines(t, func(s *scene) {
		in := toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_GET, "hang", "")
		_, err := s.dapr().InvokeService(metadata.AppendToOutgoingContext(s.plainCtx(), "pillion-timeout", "50ms"), in)
		if got := status.Convert(err); got.Code() != codes.DeadlineExceeded || !strings.Contains(got.Message(), "failed to invoke, id: shop, err: DEADLINE_EXCEEDED: context deadline exceeded") {
			s.t.Errorf("pillion-timeout: %v", err)
		}
		_, err = s.dapr().InvokeService(metadata.AppendToOutgoingContext(s.plainCtx(), "pillion-timeout", "soon"), in)
		if got := status.Convert(err); got.Code() != codes.InvalidArgument || !strings.Contains(got.Message(), "pillion-timeout") {
			s.t.Errorf("a bad pillion-timeout: %v", err)
		}
	})
}

// Shutdown ends the sidecar as its stopping does, once it has answered.
func TestShutdownOverGRPC(t *testing.T) {
	engines(t, func(s *scene) {
		for _, force := range []string{"", "true"} {
			own := s.mesh.sidecar(s.t, "ends"+force)
			ctx := s.plainCtx()
			if force != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "dapr-force-shutdown", force)
			}
			if _, err := runtimev1.NewDaprClient(dial(s.t, own.grpc)).Shutdown(ctx, &runtimev1.ShutdownRequest{}); err != nil {
				s.t.Errorf("force %q: %v", force, err)
			}
			wait(s.t, "the sidecar ends", own.gone)
			if code := own.cmd.ProcessState.ExitCode(); code != 0 {
				s.t.Errorf("force %q: exit status %d", force, code)
			}
		}
	})
}

// The API log has Dapr's line of each gRPC call, whoever answers it.
func TestAPILogOfGRPC(t *testing.T) {
	engines(t, func(s *scene) {
		own := s.mesh.sidecar(s.t, "logged", "--enable-api-logging")
		s.conn = dial(s.t, own.grpc, grpc.WithUserAgent("me"))
		name := s.method(func(stream grpc.ServerStream) error {
			if _, err := hear(stream); err != nil {
				return err
			}
			_ = stream.SendMsg(wrapperspb.String("x"))
			return status.Error(codes.Aborted, "no")
		})
		_, _ = s.dapr().GetMetadata(s.plainCtx(), &runtimev1.GetMetadataRequest{})
		_, _ = s.dapr().InvokeService(s.plainCtx(), toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_GET, "text=x&status=404", ""))
		_, _ = s.dapr().InvokeService(s.plainCtx(), toInvoke("nobody", "m", commonv1.HTTPExtension_GET, "", ""))
		_, _ = s.ask(s.ctx(), name, "")
		_, _ = s.ask(s.plainCtx(), "/any.Service/Method", "")
		_, _ = s.ask(metadata.AppendToOutgoingContext(s.plainCtx(), "dapr-app-id", "nobody"), "/any.Service/Method", "")
		for _, line := range []string{
			`code=0 duration=\d+ method=/dapr.proto.runtime.v1.Dapr/GetMetadata scope=dapr.runtime.grpc.api-info type=log useragent="?me grpc-go/`,
			`code=5 duration=\d+ method=/dapr.proto.runtime.v1.Dapr/InvokeService scope=dapr.runtime.grpc.api-info target=shop type=log`,
			`code=13 duration=\d+ method=/dapr.proto.runtime.v1.Dapr/InvokeService scope=dapr.runtime.grpc.api-info target=nobody type=log`,
			`code=10 duration=\d+ method=` + name + ` scope=dapr.runtime.grpc.api-info target=` + s.id + ` type=log`,
			`code=2 duration=\d+ method=/any.Service/Method scope=dapr.runtime.grpc.api-info type=log`,
			`code=2 duration=\d+ method=/any.Service/Method scope=dapr.runtime.grpc.api-info target=nobody type=log`,
		} {
			want := regexp.MustCompile(`level=info msg="gRPC API Called" app_id=logged ` + line)
			until(s.t, "a line like "+want.String(), func() bool { return want.MatchString(own.text()) })
		}
		if text := own.text(); strings.Contains(text, "HTTP API Called") || strings.Count(text, "gRPC API Called") != 6 {
			s.t.Errorf("the log:\n%s", text)
		}
	})
}

// The official SDK is on both sides.
func TestSDKOnBothSides(t *testing.T) {
	engines(t, func(s *scene) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		service := daprd.NewServiceWithListener(ln)
		if err := service.AddServiceInvocationHandler("greet", func(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
			if in.Verb != "POST" || in.QueryString != "loud=1" {
				return nil, fmt.Errorf("verb %q, query %q", in.Verb, in.QueryString)
			}
			return &common.Content{Data: append([]byte("hello "), in.Data...), ContentType: "text/plain"}, nil
		}); err != nil {
			s.t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- service.Start() }()
		s.t.Cleanup(func() {
			if err := errors.Join(service.Stop(), <-ended); err != nil {
				s.t.Error(err)
			}
		})
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			s.t.Fatal(err)
		}
		s.mesh.sidecar(s.t, "sdk", "--app-port", port, "--app-protocol", "grpc")
		got, err := dapr.NewClientWithConnection(s.conn).InvokeMethodWithContent(s.plainCtx(), "sdk", "greet?loud=1", "post",
			&dapr.DataContent{Data: []byte("you"), ContentType: "text/plain"})
		if err != nil || string(got) != "hello you" {
			s.t.Errorf("%q, %v", got, err)
		}
		s.id = "sdk"
		if answer, body := s.overHTTP("POST", "greet?loud=1", "you"); answer.StatusCode != 200 || body != "hello you" || answer.Header.Get("Content-Type") != "text/plain" {
			s.t.Errorf("over HTTP: %d %v %s", answer.StatusCode, answer.Header, body)
		}
	})
}

// A call that a policy denies is PermissionDenied where Dapr says so, and inside
// Internal where Dapr does that.
func TestAccessDenied(t *testing.T) {
	engines(t, func(s *scene) {
		file := filepath.Join(s.t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(`apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: guarded
spec:
  accessControl:
    defaultAction: deny
`), 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.mesh.sidecar(s.t, "guarded", "--app-port", s.mesh.apps[0].port(), "--app-protocol", "grpc", "--config", file)
		_, err := s.dapr().InvokeService(s.plainCtx(), toInvoke("guarded", "m", commonv1.HTTPExtension_POST, "", ""))
		if got := status.Convert(err); got.Code() != codes.Internal ||
			!strings.HasPrefix(got.Message(), "failed to invoke, id: guarded, err: rpc error: code = PermissionDenied desc = access control policy has denied access to id: ") {
			s.t.Errorf("InvokeService: %v", err)
		}
		_, err = s.ask(metadata.AppendToOutgoingContext(s.plainCtx(), "dapr-app-id", "guarded"), s.method(echo), "x")
		if got := status.Convert(err); got.Code() != codes.PermissionDenied || !strings.HasPrefix(got.Message(), "access control policy has denied access to id: ") {
			s.t.Errorf("a method of its own: %v", err)
		}
	})
}

// What is saved at one door is read at the other.
func TestStateIsTheSameAtBothDoors(t *testing.T) {
	engines(t, func(s *scene) {
		cl := dapr.NewClientWithConnection(s.conn)
		if err := cl.SaveState(s.plainCtx(), "statestore", "task", []byte(`{"n":1}`), nil); err != nil {
			s.t.Fatal(err)
		}
		if got := httpJSON(s.t, "GET", "http://"+s.mesh.caller.http+"/v1.0/state/statestore/task", ""); got["n"] != 1.0 {
			s.t.Errorf("over HTTP: %v", got)
		}
		httpJSON(s.t, "POST", "http://"+s.mesh.caller.http+"/v1.0/state/statestore", `[{"key":"task","value":{"n":2}}]`)
		item, err := cl.GetState(s.plainCtx(), "statestore", "task", nil)
		if err != nil || string(item.Value) != `{"n":2}` || item.Etag == "" {
			s.t.Errorf("over gRPC: %+v, %v", item, err)
		}
		if err := cl.DeleteStateWithETag(s.plainCtx(), "statestore", "task", &dapr.ETag{Value: "77777"}, nil,
			&dapr.StateOptions{Concurrency: dapr.StateConcurrencyFirstWrite}); status.Code(errors.Unwrap(err)) != codes.Aborted && status.Code(err) != codes.Aborted {
			s.t.Errorf("a wrong etag: %v", err)
		}
		_, err = cl.GetState(s.plainCtx(), "other", "task", nil)
		if err == nil || !strings.Contains(err.Error(), "state store other is not found") {
			s.t.Errorf("another store: %v", err)
		}
	})
}

// A Configuration's lists hold at the real door.
func TestDeniedMethods(t *testing.T) {
	engines(t, func(s *scene) {
		file := filepath.Join(s.t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(`apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: lists
spec:
  api:
    denied:
    - name: shutdown
      version: v1
      protocol: grpc
`), 0o600); err != nil {
			s.t.Fatal(err)
		}
		own := s.mesh.sidecar(s.t, "lists", "--config", file)
		s.conn = dial(s.t, own.grpc)
		_, err := s.dapr().Shutdown(s.plainCtx(), &runtimev1.ShutdownRequest{})
		if got := status.Convert(err); got.Code() != codes.Unimplemented || got.Message() != "Not Implemented" {
			s.t.Errorf("denied: %v", err)
		}
		if _, err := s.dapr().GetMetadata(s.plainCtx(), &runtimev1.GetMetadataRequest{}); err != nil {
			s.t.Errorf("not denied: %v", err)
		}
		if got, err := s.ask(s.ctx(), s.method(echo), "x"); err != nil || got != "x" {
			s.t.Errorf("an app's: %q, %v", got, err)
		}
	})
}
