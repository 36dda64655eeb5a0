package grpctest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A scene is one way from a client to an app.
type scene struct {
	t    *testing.T
	mesh *machine
	app  *app
	id   string           // the app's
	door string           // the caller's sidecar
	conn *grpc.ClientConn // to the door
}

// everywhere runs a test with both engines, through both doors, to an app of
// each protocol.
func everywhere(t *testing.T, test func(s *scene)) {
	t.Helper()
	t.Parallel()
	for _, m := range shared {
		m.start(t)
		for _, way := range []struct {
			name, id, door string
			app            *app
		}{
			{"grpc/3500", m.orders.id, m.caller.http, m.apps[0]},
			{"grpc/50001", m.orders.id, m.caller.grpc, m.apps[0]},
			{"grpcs/3500", m.vault.id, m.caller.http, m.apps[1]},
			{"grpcs/50001", m.vault.id, m.caller.grpc, m.apps[1]},
		} {
			t.Run(m.engine+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				test(&scene{t: t, mesh: m, app: way.app, id: way.id, door: way.door, conn: dial(t, way.door)})
			})
		}
	}
}

// engines runs a test with both engines, for what does not depend on the door.
func engines(t *testing.T, test func(s *scene)) {
	t.Helper()
	t.Parallel()
	for _, m := range shared {
		m.start(t)
		t.Run(m.engine, func(t *testing.T) {
			t.Parallel()
			test(&scene{t: t, mesh: m, app: m.apps[0], id: m.orders.id, door: m.caller.grpc, conn: dial(t, m.caller.grpc)})
		})
	}
}

// exactEngines keep what net/http loses: the order of fields of different
// names, a length that is not said, a cookie's crumbs.
var exactEngines = map[string]bool{"fast": true}

func (s *scene) exact() bool { return exactEngines[s.mesh.engine] }

// dial is a client of its own connection.
func dial(t testing.TB, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableRetry(), // what is repeated is ours to say
	}, options...)
	conn, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // its calls are over
	return conn
}

// direct is a client of the app itself.
func (s *scene) direct() *grpc.ClientConn {
	s.t.Helper()
	creds := insecure.NewCredentials()
	if s.id == s.mesh.vault.id {
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	}
	return dial(s.t, s.app.ln.Addr().String(), grpc.WithTransportCredentials(creds))
}

// ctx is a call's context: its target, and the test's patience.
func (s *scene) ctx(pairs ...string) context.Context {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, append([]string{"dapr-app-id", s.id}, pairs...)...)
}

// method makes h a method of the scene's app.
func (s *scene) method(h handler) string {
	s.t.Helper()
	return s.app.method(s.t, h)
}

// open begins a call to a method.
func (s *scene) open(ctx context.Context, name string, options ...grpc.CallOption) grpc.ClientStream {
	s.t.Helper()
	return open(s.t, s.conn, ctx, name, options...)
}

var anyKind = &grpc.StreamDesc{StreamName: "any", ClientStreams: true, ServerStreams: true}

func open(t testing.TB, conn *grpc.ClientConn, ctx context.Context, name string, options ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, anyKind, name, options...)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	return stream
}

// ask is a unary call with a text.
func (s *scene) ask(ctx context.Context, name, text string, options ...grpc.CallOption) (string, error) {
	in := new(wrapperspb.StringValue)
	err := s.conn.Invoke(ctx, name, wrapperspb.String(text), in, options...)
	return in.GetValue(), err
}

// A sender and a receiver are either end of a stream.
type (
	sender   interface{ SendMsg(m any) error }
	receiver interface{ RecvMsg(m any) error }
)

func say(s sender, text string) error { return s.SendMsg(wrapperspb.String(text)) }

func hear(r receiver) (string, error) {
	in := new(wrapperspb.StringValue)
	err := r.RecvMsg(in)
	return in.GetValue(), err
}

// mustSay and mustHear are for the client's end.
func (s *scene) mustSay(stream grpc.ClientStream, text string) {
	s.t.Helper()
	if err := say(stream, text); err != nil {
		s.t.Fatalf("send %q: %v", text, err)
	}
}

func (s *scene) mustHear(stream grpc.ClientStream, want string) {
	s.t.Helper()
	if got, err := hear(stream); err != nil || got != want {
		s.t.Fatalf("received %q, %v; want %q", got, err, want)
	}
}

// mustEnd reads the end of a call that went well.
func (s *scene) mustEnd(stream grpc.ClientStream) {
	s.t.Helper()
	if got, err := hear(stream); !errors.Is(err, io.EOF) {
		s.t.Fatalf("received %q, %v; want the end", got, err)
	}
}

// echo answers each message with itself.
func echo(stream grpc.ServerStream) error {
	for {
		text, err := hear(stream)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := say(stream, text); err != nil {
			return err
		}
	}
}
