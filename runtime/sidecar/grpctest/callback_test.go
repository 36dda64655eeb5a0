package grpctest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// An invoked is what OnInvoke does for one method.
type invoked func(grpc.ServerStream, *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error)

// onInvoke is AppCallback's method: it does what the test wants for the method
// that is asked for.
func (a *app) onInvoke(stream grpc.ServerStream) error {
	in := new(commonv1.InvokeRequest)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	f, ok := a.called.Load(in.GetMethod())
	if !ok {
		return status.Errorf(codes.NotFound, "the app has no %q", in.GetMethod())
	}
	out, err := f.(invoked)(stream, in)
	if err != nil {
		return err
	}
	return stream.SendMsg(out)
}

// onInvoke makes f what OnInvoke does for a method of its own, and returns its
// name.
func (s *scene) onInvoke(f invoked) string {
	s.t.Helper()
	name := "m" + strconv.FormatInt(s.app.last.Add(1), 10)
	s.app.called.Store(name, f)
	s.t.Cleanup(func() { s.app.called.Delete(name) })
	return name
}

// overHTTP calls a method of the scene's app through the door by HTTP.
func (s *scene) overHTTP(verb, target, body string, pairs ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.plainCtx(), verb, "http://"+s.door+"/v1.0/invoke/"+s.id+"/method/"+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		req.Header.Add(pairs[i], pairs[i+1])
	}
	// A body that is asked for comes once the door wants it: one that was refused
	// would break the connection, which may cost the answer.
	transport := &http.Transport{ExpectContinueTimeout: patience}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer, string(data)
}

func incoming(stream grpc.ServerStream) metadata.MD {
	md, _ := metadata.FromIncomingContext(stream.Context())
	return md
}

// An HTTP caller's request reaches OnInvoke whole, and what the app says comes
// back as HTTP.
func TestHTTPCallsAGRPCApp(t *testing.T) {
	everywhere(t, func(s *scene) {
		var got *commonv1.InvokeRequest
		var md metadata.MD
		name := s.onInvoke(func(stream grpc.ServerStream, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			got, md = in, incoming(stream)
			_ = stream.SetHeader(metadata.Pairs("x-app", "v", "x-app", "w", "raw-bin", "\x00", "grpc-own", "g"))
			stream.SetTrailer(metadata.Pairs("x-trailer", "t"))
			return &commonv1.InvokeResponse{Data: &anypb.Any{Value: []byte("answer")}, ContentType: "text/x-own"}, nil
		})
		answer, body := s.overHTTP("PUT", name+"?a=1&b=%2F", "hello", "Content-Type", "text/plain", "X-One", "1", "X-One", "2",
			"Cache-Control", "no-cache", "X-Raw-Bin", "text", "Dapr-Caller-App-Id", "spoof",
			"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		want := &commonv1.InvokeRequest{
			Method: name, Data: &anypb.Any{Value: []byte("hello")}, ContentType: "text/plain",
			HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_PUT, Querystring: "a=1&b=%2F"},
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			s.t.Errorf("the app's request (-want +got)\n%s", diff)
		}
		for key, want := range map[string][]string{
			"x-one": {"1", "2"}, "dapr-content-type": {"text/plain"}, "dapr-cache-control": {"no-cache"}, "dapr-content-length": {"5"},
			"x-raw-bin": {"text"}, "dapr-caller-app-id": {s.mesh.caller.id}, "dapr-callee-app-id": {s.id}, "content-type": {"application/grpc"},
		} {
			if diff := cmp.Diff(want, md[key]); diff != "" {
				s.t.Errorf("the app's %s (-want +got)\n%s", key, diff)
			}
		}
		if len(md["grpc-trace-bin"]) != 1 || len(md["grpc-trace-bin"][0]) != 29 || len(md["traceparent"]) != 1 {
			s.t.Errorf("the app's trace: %q, %q", md["traceparent"], md["grpc-trace-bin"])
		}
		if answer.StatusCode != 200 || body != "answer" || answer.Header.Get("Content-Type") != "text/x-own" ||
			!slices.Equal(answer.Header["X-App"], []string{"v", "w"}) || answer.Header.Get("Dapr-Grpc-Own") != "g" ||
			answer.Header.Get("Raw-Bin") != "" || answer.Header.Get("X-Trailer") != "" || answer.ContentLength != 6 {
			s.t.Errorf("the client got %d %v %q", answer.StatusCode, answer.Header, body)
		}
	})
}

// A gRPC status is an HTTP status by Dapr's table, with the status as JSON.
func TestHTTPCallerGetsAGRPCAppsStatus(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.onInvoke(func(stream grpc.ServerStream, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			code, _ := strconv.Atoi(string(in.GetData().GetValue()))
			_ = stream.SetHeader(metadata.Pairs("x-app", "v"))
			st, err := status.New(codes.Code(code), "no: 100 % ü").WithDetails(&errdetails.ErrorInfo{Reason: "R", Domain: "d"})
			if err != nil {
				return nil, err
			}
			unknown := st.Proto()
			unknown.Details = append(unknown.Details, &anypb.Any{TypeUrl: "type.googleapis.com/nobody.Knows", Value: []byte{8, 1}})
			return nil, status.ErrorProto(unknown)
		})
		for code, want := range map[codes.Code]int{
			1: 408, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503,
			15: 500, 16: 401, 99: 500,
		} {
			answer, body := s.overHTTP("POST", name, strconv.Itoa(int(code)))
			wantBody := `{"code":` + strconv.Itoa(int(code)) + `,"message":"no: 100 % ü","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"R","domain":"d"}]}`
			if answer.StatusCode != want || body != wantBody || answer.Header.Get("Content-Type") != "application/json" ||
				answer.Header.Get("X-App") != "v" || answer.Header.Get("Pillion-Error") != "" {
				s.t.Errorf("%v: %d %v %s, want %d %s", code, answer.StatusCode, answer.Header, body, want, wantBody)
			}
		}
	})
}

// InvokeService gives a gRPC app the caller's request and the caller the app's
// answer: message, status, details, metadata of head and trailers.
func TestInvokeServiceOfAGRPCApp(t *testing.T) {
	everywhere(t, func(s *scene) {
		var got *commonv1.InvokeRequest
		var md metadata.MD
		fail := status.New(codes.FailedPrecondition, "not now: 100 % ü")
		fail, err := fail.WithDetails(&errdetails.ErrorInfo{Reason: "R", Domain: "d"})
		if err != nil {
			s.t.Fatal(err)
		}
		name := s.onInvoke(func(stream grpc.ServerStream, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			got, md = in, incoming(stream)
			_ = stream.SetHeader(metadata.Pairs("x-app", "v", "x-app", "w", "raw-bin", "\x00\xff"))
			stream.SetTrailer(metadata.Pairs("x-trailer", "t", "tail-bin", "\x01"))
			if in.GetContentType() == "fail" {
				return nil, fail.Err()
			}
			return &commonv1.InvokeResponse{Data: in.GetData(), ContentType: "text/x-own"}, nil
		})
		typed, err := anypb.New(wrapperspb.String("typed"))
		if err != nil {
			s.t.Fatal(err)
		}
		for what, sent := range map[string]*commonv1.InvokeRequest{
			"bytes":   {Method: name, Data: &anypb.Any{Value: []byte("\x00x")}, ContentType: "text/plain"},
			"a type":  {Method: name, Data: typed, ContentType: "application/own"},
			"verb":    {Method: name, Data: &anypb.Any{}, HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_PATCH, Querystring: "a=b"}},
			"no verb": {Method: name, Data: &anypb.Any{}, HttpExtension: &commonv1.HTTPExtension{}},
			"fails":   {Method: name, Data: &anypb.Any{}, ContentType: "fail"},
		} {
			var head, tail metadata.MD
			ctx := s.plainCtx("x-one", "1", "x-raw-bin", "\x00\x01", "cache-control", "no-cache", "dapr-caller-app-id", "spoof")
			in := &runtimev1.InvokeServiceRequest{Id: s.id, Message: sent}
			out, err := s.dapr().InvokeService(ctx, in, grpc.Header(&head), grpc.Trailer(&tail))
			if sent.GetContentType() == "fail" {
				if got := status.Convert(err); !proto.Equal(got.Proto(), fail.Proto()) {
					s.t.Errorf("%s: %v, want %v", what, got, fail)
				}
			} else if diff := cmp.Diff(&commonv1.InvokeResponse{Data: sent.GetData(), ContentType: "text/x-own"}, out, protocmp.Transform()); err != nil || diff != "" {
				s.t.Errorf("%s: %v (-want +got)\n%s", what, err, diff)
			}
			if diff := cmp.Diff(sent, got, protocmp.Transform()); diff != "" {
				s.t.Errorf("%s: the app's request (-want +got)\n%s", what, diff)
			}
			for key, want := range map[string][]string{
				"x-one": {"1"}, "x-raw-bin": {"\x00\x01"}, "cache-control": {"no-cache"},
				"dapr-caller-app-id": {s.mesh.caller.id}, "dapr-callee-app-id": {s.id},
			} {
				if diff := cmp.Diff(want, md[key]); diff != "" {
					s.t.Errorf("%s: the app's %s (-want +got)\n%s", what, key, diff)
				}
			}
			for key, want := range map[string][]string{"x-app": {"v", "w"}, "raw-bin": {"\x00\xff"}, "dapr-http-status": nil} {
				if diff := cmp.Diff(want, head[key]); diff != "" {
					s.t.Errorf("%s: the client's %s (-want +got)\n%s", what, key, diff)
				}
			}
			for key, want := range map[string][]string{"x-trailer": {"t"}, "tail-bin": {"\x01"}, "grpc-status": nil} {
				if diff := cmp.Diff(want, tail[key]); diff != "" {
					s.t.Errorf("%s: the client's trailer %s (-want +got)\n%s", what, key, diff)
				}
			}
		}
	})
}

// A caller that goes away ends the app's work, and its deadline reaches the app.
func TestAGRPCAppsCallIsCancelled(t *testing.T) {
	everywhere(t, func(s *scene) {
		began, ended := make(chan bool, 2), make(chan struct{}, 2)
		name := s.onInvoke(func(stream grpc.ServerStream, _ *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			_, bounded := stream.Context().Deadline()
			began <- bounded
			<-stream.Context().Done()
			ended <- struct{}{}
			return nil, stream.Context().Err()
		})
		ctx, cancel := context.WithCancel(s.plainCtx())
		failed := make(chan error, 1)
		go func() {
			_, err := s.dapr().InvokeService(ctx, toInvoke(s.id, name, commonv1.HTTPExtension_POST, "", ""))
			failed <- err
		}()
		if !wait(s.t, "the app's call begins", began) {
			s.t.Error("the caller's deadline did not reach the app")
		}
		cancel()
		wait(s.t, "the app's call is cancelled", ended)
		if err := wait(s.t, "the client's call has failed", failed); status.Code(err) != codes.Canceled {
			s.t.Errorf("error = %v", err)
		}
		ctx, cancel = context.WithCancel(s.t.Context())
		req, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.door+"/v1.0/invoke/"+s.id+"/method/"+name, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		go func() {
			answer, err := http.DefaultTransport.RoundTrip(req)
			if err == nil {
				_ = answer.Body.Close()
			}
			failed <- err
		}()
		wait(s.t, "the app's call begins", began)
		cancel()
		wait(s.t, "the app's call is cancelled", ended)
		if wait(s.t, "the client's call has failed", failed) == nil {
			s.t.Error("a cancelled request was answered")
		}
	})
}

// What is no OnInvoke of Dapr's is told apart from the app's own errors.
func TestAppsWithoutACallback(t *testing.T) {
	engines(t, func(s *scene) {
		answer, body := s.overHTTP("POST", "nothing", "")
		if answer.StatusCode != 404 || body != `{"code":5,"message":"the app has no \"nothing\""}` {
			s.t.Errorf("an unknown method: %d %s", answer.StatusCode, body)
		}
		mute, err := opened(nil)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(mute.close)
		mute.methods.Delete("/dapr.proto.runtime.v1.AppCallback/OnInvoke")
		s.mesh.sidecar(s.t, "mute", "--app-port", mute.port(), "--app-protocol", "grpc")
		s.id = "mute"
		if answer, body = s.overHTTP("POST", "m", ""); answer.StatusCode != 501 || !strings.Contains(body, `"code":12`) {
			s.t.Errorf("an app without a callback: %d %s", answer.StatusCode, body)
		}
		_, err = s.dapr().InvokeService(s.plainCtx(), toInvoke("mute", "m", commonv1.HTTPExtension_POST, "", ""))
		if status.Code(err) != codes.Unimplemented {
			s.t.Errorf("an app without a callback: %v", err)
		}
	})
}

// An app that is down is unavailable, by both ways: Dapr says so of apps that
// speak gRPC.
func TestAGRPCAppThatIsDown(t *testing.T) {
	engines(t, func(s *scene) {
		port := porttest.Reserve(s.t) // it stays refused when the app has gone
		gone, err := newApp(nil)
		if err == nil {
			err = gone.open(port.Addr())
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.mesh.sidecar(s.t, "down", "--app-port", gone.port(), "--app-protocol", "grpc", "--hold", "0s")
		s.id = "down"
		gone.called.Store("m", invoked(func(grpc.ServerStream, *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			return &commonv1.InvokeResponse{}, nil
		}))
		if answer, body := s.overHTTP("POST", "m", ""); answer.StatusCode != 200 {
			s.t.Fatalf("while it is up: %d %s", answer.StatusCode, body)
		}
		gone.close()
		answer, body := s.overHTTP("POST", "m", "")
		var e struct{ Message string }
		if err := json.Unmarshal([]byte(body), &e); err != nil || answer.StatusCode != 503 || !strings.HasPrefix(e.Message, "failed to invoke, id: down, err: ") {
			s.t.Errorf("%d %s, %v", answer.StatusCode, body, err)
		}
		_, err = s.dapr().InvokeService(s.plainCtx(), toInvoke("down", "m", commonv1.HTTPExtension_POST, "", ""))
		if status.Code(err) != codes.Unavailable {
			s.t.Errorf("error = %v", err)
		}
	})
}
