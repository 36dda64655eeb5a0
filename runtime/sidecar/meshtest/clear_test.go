package meshtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// A clear sidecar is one in daprd's place, without mutual TLS.
type clear struct {
	*process
	*door
	mesh string // where other sidecars call it
	api  *grpc.ClientConn
}

// clear starts one. What it says of itself stays where the machine is.
func (m *machine) clear(id string, flags ...string) *clear {
	m.t.Helper()
	args := append([]string{
		binary, "sidecar", "--app-id", id, "--dapr-http-port", "0", "--dapr-grpc-port", "0",
		"--dapr-listen-addresses", "127.0.0.1", "--enable-metrics=false",
	}, flags...)
	var env []string
	if m.netns == "" {
		env = append(env, "DAPR_HOST_IP=127.0.0.1")
		args = append(args, "--dapr-internal-grpc-listen-address", "127.0.0.1")
	}
	p := start(m.t, m.command(context.WithoutCancel(m.t.Context()), env, args...))
	p.app = id
	p.await("dapr initialized. Status: Running")
	for _, i := range m.list() {
		if i.PID == p.pid() {
			return &clear{p, m.door(p), i.MeshAddresses[0], dialGRPC(m.t, "127.0.0.1:"+strconv.Itoa(i.GRPCPort))}
		}
	}
	m.t.Fatalf("%s is not in the list: %v", id, m.list())
	return nil
}

func dialGRPC(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// limited is a context that bounds a test's calls.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// sized is a call whose body has a known length.
func (c *clear) sized(verb, target, body string, fields ...string) response {
	r, err := http.NewRequestWithContext(limited(c.door.t), verb, c.url+target, strings.NewReader(body))
	if err != nil {
		return response{err: err}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return response{err: err}
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or broken
	data, err := io.ReadAll(answer.Body)
	return response{answer.StatusCode, answer.Header, data, err}
}

// httpApp is an app in the test itself.
func httpApp(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections() // what a failed test has left waiting
		server.Close()
	})
	return server.URL[strings.LastIndex(server.URL, ":")+1:]
}

// grpcServer serves what register registers, and is its address.
func grpcServer(t testing.TB, register func(s *grpc.Server), o ...grpc.ServerOption) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(o...)
	register(server)
	done := make(chan struct{})
	go func() {
		_ = server.Serve(ln) // Stop ends it
		close(done)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return ln.Addr().String()
}

// head is the first message of a call, as daprd writes it.
func head(method, kind string, verb commonv1.HTTPExtension_Verb, fields ...string) *internalsv1.InternalInvokeRequest {
	in := &internalsv1.InternalInvokeRequest{
		Ver:      internalsv1.APIVersion_V1,
		Metadata: map[string]*internalsv1.ListStringValue{},
		Message: &commonv1.InvokeRequest{
			Method: method, ContentType: kind, Data: &anypb.Any{}, HttpExtension: &commonv1.HTTPExtension{Verb: verb, Querystring: "q=1"},
		},
	}
	for i := 0; i+1 < len(fields); i += 2 {
		in.Metadata[fields[i]] = &internalsv1.ListStringValue{Values: append(in.Metadata[fields[i]].GetValues(), fields[i+1])}
	}
	return in
}

// callStream is a call as daprd makes it: all of the request in pieces of 2
// KiB, then all of the answer.
func callStream(ctx context.Context, conn *grpc.ClientConn, first *internalsv1.InternalInvokeRequest, body []byte) (*internalsv1.InternalInvokeResponse, []byte, error) {
	stream, err := internalsv1.NewServiceInvocationClient(conn).CallLocalStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	out := &internalsv1.InternalInvokeRequestStream{Request: first}
	for seq := uint64(0); ; seq++ {
		n := min(2<<10, len(body))
		if n > 0 {
			out.Payload = &commonv1.StreamPayload{Data: body[:n], Seq: seq}
		}
		if err := stream.Send(out); err != nil {
			break // Recv says why
		}
		if body = body[n:]; len(body) == 0 {
			break
		}
		out = &internalsv1.InternalInvokeRequestStream{}
	}
	_ = stream.CloseSend() // Recv says why
	var answer *internalsv1.InternalInvokeResponse
	var got []byte
	for seq := uint64(0); ; {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return answer, got, nil
		case err != nil:
			return answer, got, err
		case answer == nil:
			answer = m.GetResponse()
		case m.GetResponse() != nil:
			return answer, got, fmt.Errorf("a second head")
		}
		if p := m.GetPayload(); p != nil {
			if p.GetSeq() != seq {
				return answer, got, fmt.Errorf("payload %d comes as %d", seq, p.GetSeq())
			}
			seq++
			got = append(got, p.GetData()...)
		}
	}
}

func fieldOf(r *internalsv1.InternalInvokeResponse, name string) string {
	return strings.Join(r.GetHeaders()[name].GetValues(), "|")
}

// An official sidecar calls the HTTP app of ours, in the protocol's messages.
func TestDaprCallsAnHTTPAppInClearText(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	port := httpApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			for _, name := range []string{"X-One", "Dapr-Caller-App-Id", "Dapr-Callee-App-Id", "Dapr-Caller-Namespace", "Content-Type", "Traceparent"} {
				w.Header()["Got-"+name] = r.Header[name]
			}
			w.Header().Set("Got-Length", strconv.FormatInt(r.ContentLength, 10))
			w.Header().Set("Got-Target", r.Method+" "+r.URL.RequestURI())
			w.Header().Add("Set-Cookie", "a=1")
			w.Header().Add("Set-Cookie", "b=2")
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		case "/wait":
			control := http.NewResponseController(w)
			_ = control.EnableFullDuplex() // it answers before the request has ended
			w.WriteHeader(http.StatusOK)
			_ = control.Flush() // the caller has gone: nobody to tell
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				close(gone)
			}
		default:
			w.Header().Set("Content-Type", "text/x-lost")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "no such thing")
		}
	})
	sidecar := newMachine(t).clear("orders", "--app-port", port)
	conn := dialGRPC(t, sidecar.mesh)
	caller := []string{"x-one", "1", "x-one", "2", "dapr-caller-app-id", "web", "dapr-callee-app-id", "orders", "dapr-caller-namespace", "default"}
	for name, call := range map[string]func(in *internalsv1.InternalInvokeRequest, body []byte) (*internalsv1.InternalInvokeResponse, []byte, error){
		"stream": func(in *internalsv1.InternalInvokeRequest, body []byte) (*internalsv1.InternalInvokeResponse, []byte, error) {
			return callStream(limited(t), conn, in, body)
		},
		"unary": func(in *internalsv1.InternalInvokeRequest, body []byte) (*internalsv1.InternalInvokeResponse, []byte, error) {
			if in.GetMessage().GetData() != nil {
				in.Message.Data.Value = body
			}
			out, err := internalsv1.NewServiceInvocationClient(conn).CallLocal(limited(t), in)
			return out, out.GetMessage().GetData().GetValue(), err
		},
	} {
		body := bytes.Repeat([]byte("0123456789abcdef"), 1000)
		in := head("echo", "text/x-given", commonv1.HTTPExtension_PUT, append(caller, "content-length", strconv.Itoa(len(body)))...)
		out, got, err := call(in, body)
		if err != nil || out.GetStatus().GetCode() != 200 || !bytes.Equal(got, body) {
			t.Fatalf("%s: %v, %d bytes, %v", name, out, len(got), err)
		}
		for field, want := range map[string]string{
			"got-x-one": "1|2", "got-dapr-caller-app-id": "web", "got-dapr-callee-app-id": "orders", "got-dapr-caller-namespace": "default",
			"got-content-type": "text/x-given", "got-length": strconv.Itoa(len(body)), "got-target": "PUT /echo?q=1", "set-cookie": "a=1|b=2",
		} {
			if got := fieldOf(out, field); got != want {
				t.Errorf("%s: %s: %q, want %q", name, field, got, want)
			}
		}
		out, got, err = call(head("echo", "", commonv1.HTTPExtension_GET, caller...), nil)
		if err != nil || len(got) != 0 || fieldOf(out, "got-length") != "0" || fieldOf(out, "got-target") != "GET /echo?q=1" {
			t.Errorf("%s: without a body: %v %q %v", name, out, got, err)
		}
		out, got, err = call(head("lost things", "", commonv1.HTTPExtension_GET), nil)
		if err != nil || out.GetStatus().GetCode() != 404 || out.GetMessage().GetContentType() != "text/x-lost" || string(got) != "no such thing" {
			t.Errorf("%s: the app's own 404: %v %q %v", name, out, got, err)
		}
		for want, in := range map[string]*internalsv1.InternalInvokeRequest{
			"invalid HTTP verb":            head("echo", "", commonv1.HTTPExtension_NONE),
			"invalid HTTP verb\x00":        head("echo", "", commonv1.HTTPExtension_CONNECT),
			"missing HTTP extension field": {Ver: 1, Message: &commonv1.InvokeRequest{Method: "echo"}},
		} {
			want, _, _ = strings.Cut(want, "\x00")
			if _, _, err := call(in, nil); status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		_, _, err = call(&internalsv1.InternalInvokeRequest{Ver: internalsv1.APIVersion_V1, Message: nil}, nil)
		if name == "unary" && (status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "parsing InternalInvokeRequest error: field Message is nil")) {
			t.Errorf("%s: without a message: %v", name, err)
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: without a message: %v", name, err)
		}
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	if out, got, err := callStream(limited(t), conn, head("echo", "", commonv1.HTTPExtension_POST), large); err != nil || !bytes.Equal(got, large) || fieldOf(out, "got-length") != "-1" {
		t.Errorf("10 MiB: %v, %d bytes, %v", out, len(got), err)
	}
	ctx, cancel := context.WithCancel(limited(t))
	stream, err := internalsv1.NewServiceInvocationClient(conn).CallLocalStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&internalsv1.InternalInvokeRequestStream{Request: head("wait", "", commonv1.HTTPExtension_POST)}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Errorf("the head comes before the request has ended: %v", err)
	}
	cancel()
	select {
	case <-gone:
	case <-limited(t).Done():
		t.Error("the app does not learn that the caller has gone")
	}
}

// What breaks the protocol is told as Dapr tells it.
func TestMessagesOutOfOrderAreRefused(t *testing.T) {
	t.Parallel()
	port := httpApp(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	sidecar := newMachine(t).clear("orders", "--app-port", port)
	client := internalsv1.NewServiceInvocationClient(dialGRPC(t, sidecar.mesh))
	first := &internalsv1.InternalInvokeRequestStream{Request: head("a", "", commonv1.HTTPExtension_POST), Payload: &commonv1.StreamPayload{Data: []byte("a")}}
	for want, messages := range map[string][]*internalsv1.InternalInvokeRequestStream{
		"invalid sequence number received":                 {first, {Payload: &commonv1.StreamPayload{Data: []byte("b"), Seq: 2}}},
		"request metadata found in non-leading chunk":      {first, first},
		"does not contain the required fields":             {{Payload: &commonv1.StreamPayload{Data: []byte("a")}}},
		"invalid sequence number received\x00in the first": {{Request: first.Request, Payload: &commonv1.StreamPayload{Data: []byte("a"), Seq: 1}}},
	} {
		want, _, _ = strings.Cut(want, "\x00")
		stream, err := client.CallLocalStream(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			_ = stream.Send(m) // Recv says why
		}
		_ = stream.CloseSend() // Recv says why
		for err == nil {
			_, err = stream.Recv()
		}
		if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := client.CallActor(limited(t), head("a", "", commonv1.HTTPExtension_POST)); status.Code(err) != codes.Unimplemented {
		t.Errorf("actors: %v", err)
	}
	err := dialGRPC(t, sidecar.mesh).Invoke(limited(t), "/shop.Orders/Get", head("", "", 0), head("", "", 0))
	if err == nil || !strings.Contains(err.Error(), "required metadata dapr-callee-app-id or dapr-app-id not found") {
		t.Errorf("an exchange for nobody: %v", err)
	}
	answer, err := http.Get("http://" + sidecar.mesh + "/")
	if err == nil {
		_ = answer.Body.Close()
		t.Errorf("HTTP/1.1 is answered: %d", answer.StatusCode)
	}
}

// An app that is down is Dapr's error, for an official caller and at our door.
func TestAnAppThatIsDownInClearText(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // it never answers
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // as an app that crashes
		}
	}()
	sidecar := newMachine(t).clear("orders", "--app-port", port)
	_, _, err = callStream(limited(t), dialGRPC(t, sidecar.mesh), head("a", "", commonv1.HTTPExtension_POST), nil)
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "error invoking app channel: ") {
		t.Errorf("an official caller: %v", err)
	}
	caller := newMachine(t).clear("web", "--peer", "orders="+sidecar.mesh)
	r := caller.call("POST", "/v1.0/invoke/orders/method/a", "", nil)
	if r.status != 500 || !strings.Contains(string(r.body), "ERR_DIRECT_INVOKE") || !strings.Contains(string(r.body), "error invoking app channel: ") {
		t.Errorf("our door: %v", r)
	}
}

// onInvoke is an app of Dapr's callback.
type onInvoke struct {
	runtimev1.UnimplementedAppCallbackServer
}

func (onInvoke) OnInvoke(ctx context.Context, in *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	if in.GetMethod() == "lost" {
		return nil, status.Error(codes.NotFound, "no such thing")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	text := in.GetMethod() + " " + string(in.GetData().GetValue()) + " " + strings.Join(md.Get("dapr-caller-app-id"), "|") + " " + strings.Join(md.Get("x-one"), "|")
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-said", "yes")); err != nil {
		return nil, err
	}
	return &commonv1.InvokeResponse{ContentType: "text/x-kind", Data: &anypb.Any{Value: []byte(text)}}, nil
}

// An app that speaks gRPC: its status is the message's, and its own services are
// called under their names, in clear text all the way.
func TestGRPCAppsInClearText(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards what follows
	var seen metadata.MD
	saw := func() (caller string, app []string) {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(seen.Get("dapr-caller-app-id"), "|"), seen.Get("dapr-app-id")
	}
	noted := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if strings.HasSuffix(info.FullMethod, "Health/Check") {
			mu.Lock()
			seen, _ = metadata.FromIncomingContext(ctx)
			mu.Unlock()
		}
		return h(ctx, req)
	}
	addr := grpcServer(t, func(s *grpc.Server) {
		runtimev1.RegisterAppCallbackServer(s, onInvoke{})
		grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	}, grpc.UnaryInterceptor(noted))
	_, port, _ := net.SplitHostPort(addr)
	callee := newMachine(t).clear("orders", "--app-port", port, "--app-protocol", "grpc")
	conn := dialGRPC(t, callee.mesh)
	fields := []string{"x-one", "1", "dapr-caller-app-id", "web"}
	out, got, err := callStream(limited(t), conn, head("a", "", commonv1.HTTPExtension_POST, fields...), []byte("data"))
	if err != nil || out.GetStatus().GetCode() != 0 || string(got) != "a data web 1" || out.GetMessage().GetContentType() != "text/x-kind" || fieldOf(out, "x-said") != "yes" {
		t.Errorf("by Dapr: %v %q %v", out, got, err)
	}
	out, _, err = callStream(limited(t), conn, head("lost", "", commonv1.HTTPExtension_POST), nil)
	if err != nil || out.GetStatus().GetCode() != int32(codes.NotFound) || out.GetStatus().GetMessage() != "no such thing" {
		t.Errorf("the app's error: %v %v", out, err)
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(metadata.AppendToOutgoingContext(limited(t),
		"dapr-callee-app-id", "orders", "dapr-caller-app-id", "web", "dapr-app-id", "orders"), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("an exchange: %v", err)
	}
	if by, app := saw(); by != "web" || len(app) > 0 {
		t.Errorf("the app saw %q %q", by, app)
	}

	caller := newMachine(t).clear("shop", "--peer", "orders="+callee.mesh)
	r := caller.call("POST", "/v1.0/invoke/orders/method/a", "", strings.NewReader("data"), "X-One", "1")
	if !r.ok() || string(r.body) != "a data shop 1" || r.header.Get("X-Said") != "yes" || r.header.Get("Content-Type") != "text/x-kind" {
		t.Errorf("by our door: %v %v", r, r.header)
	}
	if r := caller.call("POST", "/v1.0/invoke/orders/method/lost", "", nil); r.status != 404 || !strings.Contains(string(r.body), "no such thing") {
		t.Errorf("the app's error at our door: %v", r)
	}
	invoke := func(method string) (*commonv1.InvokeResponse, error) {
		return runtimev1.NewDaprClient(caller.api).InvokeService(limited(t), &runtimev1.InvokeServiceRequest{
			Id: "orders", Message: &commonv1.InvokeRequest{Method: method, Data: &anypb.Any{Value: []byte("data")}},
		})
	}
	if out, err := invoke("a"); err != nil || string(out.GetData().GetValue()) != "a data shop " || out.GetContentType() != "text/x-kind" {
		t.Errorf("InvokeService: %v %v", out, err)
	}
	if _, err := invoke("lost"); status.Code(err) != codes.NotFound {
		t.Errorf("InvokeService of an error: %v", err)
	}
	if _, err := grpc_health_v1.NewHealthClient(caller.api).Check(metadata.AppendToOutgoingContext(limited(t), "dapr-app-id", "orders"), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("an exchange by our door: %v", err)
	}
	if by, app := saw(); by != "shop" || len(app) > 0 {
		t.Errorf("the app saw %q %q", by, app)
	}
}

// daprd is an official sidecar as far as ours can see.
type daprd struct {
	internalsv1.UnimplementedServiceInvocationServer
	old bool // it does not know streams
}

func (d daprd) answer(in *internalsv1.InternalInvokeRequest, body []byte) (*internalsv1.InternalInvokeResponse, []byte, error) {
	said := func(code int32, text string) (*internalsv1.InternalInvokeResponse, []byte, error) {
		return &internalsv1.InternalInvokeResponse{
			Status: &internalsv1.Status{Code: code},
			Headers: map[string]*internalsv1.ListStringValue{
				"x-one": in.GetMetadata()["x-one"], "x-caller": in.GetMetadata()["dapr-caller-app-id"], "x-for": in.GetMetadata()["x-forwarded-for"],
				"x-verb": {Values: []string{in.GetMessage().GetHttpExtension().GetVerb().String() + " " + in.GetMessage().GetMethod() + " " + in.GetMessage().GetHttpExtension().GetQuerystring()}},
			},
			Message: &commonv1.InvokeResponse{ContentType: "text/x-kind", Data: &anypb.Any{}},
		}, []byte(text), nil
	}
	switch in.GetMessage().GetMethod() {
	case "lost":
		return said(404, "no such thing")
	case "broken":
		return nil, nil, status.Error(codes.Internal, "error invoking app channel: connection refused")
	case "denied":
		return nil, nil, status.Error(codes.PermissionDenied, "access control policy has denied access to id:  operation: denied verb: POST")
	}
	return said(200, string(body))
}

func (d daprd) CallLocal(_ context.Context, in *internalsv1.InternalInvokeRequest) (*internalsv1.InternalInvokeResponse, error) {
	out, data, err := d.answer(in, in.GetMessage().GetData().GetValue())
	if err == nil {
		out.Message.Data.Value = data
	}
	return out, err
}

func (d daprd) CallLocalStream(stream internalsv1.ServiceInvocation_CallLocalStreamServer) error {
	if d.old {
		return d.UnimplementedServiceInvocationServer.CallLocalStream(stream)
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	body := first.GetPayload().GetData()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		body = append(body, m.GetPayload().GetData()...)
	}
	out, data, err := d.answer(first.GetRequest(), body)
	if err != nil {
		return err
	}
	m := &internalsv1.InternalInvokeResponseStream{Response: out}
	for seq := uint64(0); ; seq++ {
		n := min(2<<10, len(data))
		if n > 0 {
			m.Payload = &commonv1.StreamPayload{Data: data[:n], Seq: seq}
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
		m = &internalsv1.InternalInvokeResponseStream{}
	}
}

// Ours calls an official sidecar, one that knows streams and one that does not.
func TestOurDoorsCallDaprInClearText(t *testing.T) {
	t.Parallel()
	now := grpcServer(t, func(s *grpc.Server) {
		internalsv1.RegisterServiceInvocationServer(s, daprd{})
		grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	})
	old := grpcServer(t, func(s *grpc.Server) { internalsv1.RegisterServiceInvocationServer(s, daprd{old: true}) })
	caller := newMachine(t).clear("web", "--peer", "now="+now, "--peer", "old="+old)
	for _, id := range []string{"now", "old"} {
		at := "/v1.0/invoke/" + id + "/method/"
		r := caller.sized("PUT", at+"some%20thing?q=1", "data", "X-One", "1")
		if !r.ok() || string(r.body) != "data" || r.header.Get("X-One") != "1" || r.header.Get("X-Caller") != "web" ||
			r.header.Get("X-Verb") != "PUT some thing q=1" || r.header.Get("Content-Type") != "text/x-kind" || r.header.Get("X-For") == "" {
			t.Errorf("%s: %v %v", id, r, r.header)
		}
		if r := caller.get(at + "lost"); r.status != 404 || string(r.body) != "no such thing" || r.header.Get("Content-Type") != "text/x-kind" {
			t.Errorf("%s: the app's own 404: %v", id, r)
		}
		if r := caller.get(at + "broken"); r.status != 500 || !strings.Contains(string(r.body), "rpc error: code = Internal desc = error invoking app channel: connection refused") {
			t.Errorf("%s: an error: %v", id, r)
		}
		if r := caller.get(at + "denied"); r.status != 403 || !strings.Contains(string(r.body), "rpc error: code = PermissionDenied desc = access control policy has denied access") {
			t.Errorf("%s: what is not allowed: %v", id, r)
		}
		out, err := runtimev1.NewDaprClient(caller.api).InvokeService(limited(t), &runtimev1.InvokeServiceRequest{Id: id, Message: &commonv1.InvokeRequest{
			Method: "a", Data: &anypb.Any{Value: []byte("data")}, HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST},
		}})
		if err != nil || string(out.GetData().GetValue()) != "data" {
			t.Errorf("%s: InvokeService: %v %v", id, out, err)
		}
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	if r := caller.call("POST", "/v1.0/invoke/now/method/a", "", bytes.NewReader(large)); !r.ok() || !bytes.Equal(r.body, large) {
		t.Errorf("10 MiB: %d, %d bytes, %v", r.status, len(r.body), r.err)
	}
	if r := caller.call("POST", "/v1.0/invoke/old/method/a", "", bytes.NewReader(large[:128<<10])); r.status != 500 || !strings.Contains(string(r.body), "too old") {
		t.Errorf("a body that is not kept to an old one: %v", r)
	}
	if _, err := grpc_health_v1.NewHealthClient(caller.api).Check(metadata.AppendToOutgoingContext(limited(t), "dapr-app-id", "now"), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("an exchange: %v", err)
	}
}

// Both kinds on one machine: each refuses the other and says why; a person at a
// terminal reaches both.
func TestClearTextAndMutualTLSDoNotMix(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	port := httpApp(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"name":"open"}`) })
	meshPort := porttest.Reserve(t).String() // it is opened twice
	open := m.clear("open", "--app-port", port, "--dapr-internal-grpc-port", meshPort)
	m.app("secret")
	other := m.clear("other")
	_, safe := m.caller("safe")
	if r := other.get("/v1.0/invoke/open/method/a"); !r.ok() {
		t.Errorf("clear to clear: %v", r)
	}
	if r := safe.get("/v1.0/invoke/secret/method/a"); !r.ok() {
		t.Errorf("TLS to TLS: %v", r)
	}
	if r := other.get("/v1.0/invoke/secret/method/a"); r.status != 500 || !strings.Contains(string(r.body), "secret takes calls by mutual TLS only, and this sidecar has none") {
		t.Errorf("clear to TLS: %v", r)
	}
	if r := safe.get("/v1.0/invoke/open/method/a"); r.status != 500 || !strings.Contains(string(r.body), "open runs without mutual TLS, and is not called by an app that has it") {
		t.Errorf("TLS to clear: %v", r)
	}
	m.invoke("open", "a")
	m.invoke("secret", "a")
	// A sidecar that is started anew is called on a new connection.
	addr := open.mesh
	open.stop()
	again := m.clear("open", "--app-port", port, "--dapr-internal-grpc-port", meshPort)
	if again.mesh != addr {
		t.Fatalf("it is at %s now, not %s", again.mesh, addr)
	}
	if r := other.get("/v1.0/invoke/open/method/a"); !r.ok() {
		t.Errorf("started anew: %v", r)
	}
}
