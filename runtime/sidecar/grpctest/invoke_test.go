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
	dapr "github.com/dapr/go-sdk/client"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// A told is what the app called shop says of a request.
type told struct {
	Verb, Target string
	Header       http.Header
	Length       int64
	Body         string
}

// tell answers with what came, with the status and the fields that the query
// asks for.
func tell(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for _, field := range r.URL.Query()["field"] {
		name, value, _ := strings.Cut(field, ":")
		w.Header().Add(name, value)
	}
	if size, err := strconv.Atoi(r.URL.Query().Get("size")); err == nil {
		_, _ = io.CopyN(w, zeros{}, int64(size)) // the caller may have enough
		return
	}
	if text := r.URL.Query().Get("text"); text != "" {
		code, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
		return
	}
	if r.URL.Query().Has("hang") {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(told{r.Method, r.RequestURI, r.Header, r.ContentLength, string(body)})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// dapr is Dapr's service at the scene's door.
func (s *scene) dapr() runtimev1.DaprClient { return runtimev1.NewDaprClient(s.conn) }

// plainCtx is a call's context without a target.
func (s *scene) plainCtx(pairs ...string) context.Context {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// toInvoke is the request for a method of an app that speaks HTTP.
func toInvoke(id, method string, verb commonv1.HTTPExtension_Verb, query, data string) *runtimev1.InvokeServiceRequest {
	return &runtimev1.InvokeServiceRequest{Id: id, Message: &commonv1.InvokeRequest{
		Method: method, Data: &anypb.Any{Value: []byte(data)}, ContentType: "text/plain",
		HttpExtension: &commonv1.HTTPExtension{Verb: verb, Querystring: query},
	}}
}

// mustTell calls shop, and is what it was told and said.
func (s *scene) mustTell(ctx context.Context, in *runtimev1.InvokeServiceRequest) (told, metadata.MD) {
	s.t.Helper()
	var head metadata.MD
	out, err := s.dapr().InvokeService(ctx, in, grpc.Header(&head))
	if err != nil {
		s.t.Fatal(err)
	}
	var got told
	if err := json.Unmarshal(out.GetData().GetValue(), &got); err != nil {
		s.t.Fatalf("%v: %q", err, out.GetData().GetValue())
	}
	return got, head
}

// The official SDK calls an app that speaks HTTP.
func TestSDKInvokesAnHTTPApp(t *testing.T) {
	engines(t, func(s *scene) {
		cl := dapr.NewClientWithConnection(s.conn)
		got, err := cl.InvokeMethodWithContent(s.plainCtx(), s.mesh.shop.id, "a/b?x=1&y=%2F", "put",
			&dapr.DataContent{Data: []byte(`{"n":1}`), ContentType: "application/json"})
		if err != nil {
			s.t.Fatal(err)
		}
		var it told
		if err := json.Unmarshal(got, &it); err != nil {
			s.t.Fatal(err)
		}
		if it.Verb != "PUT" || it.Target != "/a/b?x=1&y=%2F" || it.Body != `{"n":1}` || it.Header.Get("Content-Type") != "application/json" {
			s.t.Errorf("the app got %+v", it)
		}
		m, err := cl.GetMetadata(s.plainCtx())
		if err != nil || m.ID != s.mesh.caller.id {
			s.t.Errorf("metadata %+v, %v", m, err)
		}
	})
}

// Metadata become header lines and header lines metadata, as Dapr has them.
func TestInvokeServiceMapsMetadata(t *testing.T) {
	engines(t, func(s *scene) {
		ctx := s.plainCtx(
			"x-one", "1", "x-two", "a", "x-two", "b", "x-raw-bin", "\x00\x01",
			"dapr-caller-app-id", "spoof", "dapr-callee-app-id", "spoof", "dapr-caller-namespace", "spoof",
			"grpc-own", "g", "pillion-secret", "no",
			"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		)
		in := toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_POST,
			"field=X-App:v&field=X-App:w&field=Cache-Control:no-store&field=Raw-Bin:AAE&field=Raw-Bin:%25", "hello")
		got, head := s.mustTell(ctx, in)
		for name, want := range map[string][]string{
			"X-One": {"1"}, "X-Two": {"a", "b"}, "X-Raw-Bin": nil, "Dapr-Grpc-Own": {"g"}, "Grpc-Own": nil,
			"Dapr-Caller-App-Id": {s.mesh.caller.id}, "Dapr-Callee-App-Id": {s.mesh.shop.id}, "Dapr-Caller-Namespace": {"default"},
			"Content-Type": {"text/plain"}, "Dapr-Authority": {s.door}, "Pillion-Secret": nil, "Te": nil,
			"Content-Length": {"5"}, "Transfer-Encoding": nil,
		} {
			if diff := cmp.Diff(want, got.Header[name]); diff != "" {
				s.t.Errorf("the app's %s (-want +got)\n%s", name, diff)
			}
		}
		if got.Length != 5 || got.Body != "hello" || !strings.HasPrefix(got.Header.Get("User-Agent"), "grpc-go/") ||
			!strings.Contains(got.Header.Get("Traceparent"), "0af7651916cd43dd8448eb211c80319c") {
			s.t.Errorf("the app got %+v", got)
		}
		for name, want := range map[string][]string{
			"dapr-http-status": {"200"}, "x-app": {"v", "w"}, "dapr-cache-control": {"no-store"},
			"dapr-content-type": {"application/json"}, "cache-control": nil,
		} {
			if diff := cmp.Diff(want, head[name]); diff != "" {
				s.t.Errorf("the client's %s (-want +got)\n%s", name, diff)
			}
		}
		in.Message.Data.TypeUrl = "type.googleapis.com/any.Type"
		if got, _ := s.mustTell(ctx, in); got.Header.Get("Content-Type") != "application/x-protobuf" {
			s.t.Errorf("of a message of a type the app got %+v", got)
		}
		if len(head["dapr-date"]) != 1 {
			s.t.Errorf("head = %v", head)
		}
	})
}

// Every verb of Dapr's, the query and the bytes of the method reach the app.
func TestInvokeServiceVerbsAndPaths(t *testing.T) {
	engines(t, func(s *scene) {
		for number, verb := range commonv1.HTTPExtension_Verb_name {
			if verb == "NONE" || verb == "CONNECT" || verb == "HEAD" {
				continue
			}
			got, _ := s.mustTell(s.plainCtx(), toInvoke(s.mesh.shop.id, "v", commonv1.HTTPExtension_Verb(number), "", ""))
			if got.Verb != verb || got.Target != "/v" {
				s.t.Errorf("%s: %+v", verb, got)
			}
		}
		for given, want := range map[string]string{
			"a/b": "/a/b", "/a": "/a", "//a": "/a", "c%25d": "/c%25d", "a%2Fb": "/a%2Fb", "a b": "/a%20b", "ü": "/%C3%BC", "": "/",
			"a//b/": "/a//b/",
		} {
			got, _ := s.mustTell(s.plainCtx(), toInvoke(s.mesh.shop.id, given, commonv1.HTTPExtension_GET, "q=a%2Fb&r=x y", ""))
			if want += "?q=a%2Fb&r=x%20y"; got.Target != want {
				s.t.Errorf("the method %q is %q at the app, want %q", given, got.Target, want)
			}
		}
	})
}

// An app's answer that is not 2xx is an error by Dapr's table, with Dapr's
// details.
func TestInvokeServiceStatuses(t *testing.T) {
	engines(t, func(s *scene) {
		long := strings.Repeat("ä", 40)
		for code, want := range map[int]codes.Code{
			302: codes.Unknown, 400: codes.Internal, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 404: codes.NotFound,
			408: codes.Canceled, 409: codes.AlreadyExists, 418: codes.Unknown, 429: codes.ResourceExhausted, 500: codes.Unknown,
			501: codes.Unimplemented, 502: codes.Unknown, 503: codes.Unavailable, 504: codes.DeadlineExceeded,
		} {
			var head metadata.MD
			in := toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_GET, "field=X-App:v&text="+long+"&status="+strconv.Itoa(code), "")
			_, err := s.dapr().InvokeService(s.plainCtx(), in, grpc.Header(&head))
			got := status.Convert(err)
			if got.Code() != want || got.Message() != http.StatusText(code) || len(got.Details()) != 1 {
				s.t.Errorf("%d: %v", code, err)
				continue
			}
			info, _ := got.Details()[0].(*errdetails.ErrorInfo)
			wantInfo := map[string]string{"http.code": strconv.Itoa(code), "http.error_message": strings.Repeat("ä", 31)}
			if diff := cmp.Diff(wantInfo, info.GetMetadata()); diff != "" || info.GetDomain() != "dapr.io" || info.GetReason() != http.StatusText(code) {
				s.t.Errorf("%d: details %v\n%s", code, info, diff)
			}
			if !slices.Equal(head["dapr-http-status"], []string{strconv.Itoa(code)}) || !slices.Equal(head["x-app"], []string{"v"}) {
				s.t.Errorf("%d: head %v", code, head)
			}
		}
		in := toInvoke(s.mesh.shop.id, "m", commonv1.HTTPExtension_GET, "text=fine&status=201", "")
		var head metadata.MD
		out, err := s.dapr().InvokeService(s.plainCtx(), in, grpc.Header(&head))
		if err != nil || string(out.GetData().GetValue()) != "fine" || !slices.Equal(head["dapr-http-status"], []string{"201"}) {
			s.t.Errorf("201: %v, %v, %v", out, err, head)
		}
	})
}

// What no app answered is Internal in Dapr's words, with ours behind them.
func TestInvokeServiceFailures(t *testing.T) {
	engines(t, func(s *scene) {
		shop := s.mesh.shop.id
		noVerb := toInvoke(shop, "m", commonv1.HTTPExtension_NONE, "", "")
		noExtension := toInvoke(shop, "m", commonv1.HTTPExtension_NONE, "", "")
		noExtension.Message.HttpExtension = nil
		for name, c := range map[string]struct {
			in     *runtimev1.InvokeServiceRequest
			text   string
			reason apperr.Reason
		}{
			"unknown app":   {toInvoke("nobody", "m", commonv1.HTTPExtension_GET, "", ""), "failed to invoke, id: nobody, err: couldn't find service: nobody", apperr.AppNotFound},
			"no app":        {toInvoke("", "m", commonv1.HTTPExtension_GET, "", ""), "failed getting app id", apperr.TargetMissing},
			"two dots":      {toInvoke("a.b.c", "m", commonv1.HTTPExtension_GET, "", ""), "failed to invoke, id: a.b.c, err: invalid app id a.b.c", apperr.TargetInvalid},
			"no message":    {&runtimev1.InvokeServiceRequest{Id: shop}, "failed to invoke, id: shop, err: rpc error: code = InvalidArgument desc = parsing InternalInvokeRequest error: request does not contain the required fields", apperr.Usage},
			"no verb":       {noVerb, "failed to invoke, id: shop, err: rpc error: code = InvalidArgument desc = invalid HTTP verb", apperr.MethodRefused},
			"no extension":  {noExtension, "failed to invoke, id: shop, err: rpc error: code = InvalidArgument desc = missing HTTP extension field", apperr.MethodRefused},
			"CONNECT":       {toInvoke(shop, "m", commonv1.HTTPExtension_CONNECT, "", ""), "failed to invoke, id: shop, err: invalid HTTP verb", apperr.MethodRefused},
			"question mark": {toInvoke(shop, "a?b", commonv1.HTTPExtension_GET, "", ""), `failed to invoke, id: shop, err: rpc error: code = InvalidArgument desc = invalid method: method contains forbidden character: "a?b"`, apperr.Usage},
			"own, no port":  {toInvoke(s.mesh.caller.id, "m", commonv1.HTTPExtension_GET, "", ""), "failed to invoke, id: web, err: app channel is not initialized", apperr.AppHasNoPort},
		} {
			_, err := s.dapr().InvokeService(s.plainCtx(), c.in)
			got := status.Convert(err)
			if got.Code() != codes.Internal || !strings.HasPrefix(got.Message(), c.text) {
				s.t.Errorf("%s: %v, want Internal %q", name, err, c.text)
				continue
			}
			detail(s.t, err, c.reason)
		}
	})
}

// detail is pillion's own detail of an error.
func detail(t *testing.T, err error, reason apperr.Reason) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == apperr.Domain && info.GetReason() == string(reason) {
			return
		}
	}
	t.Errorf("no %s in the details of %v: %v", reason, err, status.Convert(err).Details())
}

// An app may call itself, and hosts outside the mesh, by InvokeService too.
func TestInvokeServiceOfOneselfAndOfHosts(t *testing.T) {
	engines(t, func(s *scene) {
		host := s.mesh.apps[3].ln.Addr().String() // shop's, without its sidecar
		s.conn = dial(s.t, s.mesh.shop.grpc)
		for what, id := range map[string]string{"itself": s.mesh.shop.id, "a host": "http://" + host} {
			got, head := s.mustTell(s.plainCtx("x-one", "1", "x-raw-bin", "\x00"), toInvoke(id, "a/b", commonv1.HTTPExtension_PUT, "q=1", "hello"))
			if got.Verb != "PUT" || got.Target != "/a/b?q=1" || got.Body != "hello" || got.Length != 5 ||
				got.Header.Get("X-One") != "1" || got.Header.Get("X-Raw-Bin") != "" || !slices.Equal(head["dapr-http-status"], []string{"200"}) {
				s.t.Errorf("%s got %+v, %v", what, got, head)
			}
			_, err := s.dapr().InvokeService(s.plainCtx(), toInvoke(id, "m", commonv1.HTTPExtension_NONE, "", ""))
			if got := status.Convert(err); got.Code() != codes.Internal || !strings.Contains(got.Message(), "invalid HTTP verb") {
				s.t.Errorf("%s without a verb: %v", what, err)
			}
		}
		s.conn = dial(s.t, s.mesh.orders.grpc)
		name := s.onInvoke(func(_ grpc.ServerStream, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
			return &commonv1.InvokeResponse{Data: in.GetData()}, status.Error(codes.Aborted, "no")
		})
		_, err := s.dapr().InvokeService(s.plainCtx(), toInvoke(s.mesh.orders.id, name, commonv1.HTTPExtension_NONE, "", "x"))
		if got := status.Convert(err); got.Code() != codes.Aborted || got.Message() != "no" {
			s.t.Errorf("a gRPC app of itself: %v", err)
		}
	})
}
