// Package grpcapi is Dapr's own gRPC service, dapr.proto.runtime.v1.Dapr, for
// the door to put on its HTTP/2 connections. It decodes a request, calls what
// carries it out, and encodes the answer.
package grpcapi

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net/http"
	"time"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress what they send
	"google.golang.org/grpc/reflection"

	"github.com/pillion-dev/pillion/runtime/apilist"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/secrets"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/tls/identity"
)

// DefaultMaxMessage is the size of a message if nothing else is said: Dapr's.
const DefaultMaxMessage = 4 << 20

// Config is what the service is made of.
type Config struct {
	// Invoke carries out calls. Required.
	Invoke invoke.Handler
	// Self is whose service it is. Required.
	Self identity.ID
	// State are the state stores. Nil: none are configured.
	State *state.Block
	// Secrets are the secret stores. Nil: none are configured.
	Secrets *secrets.Block
	// Metadata says what the sidecar is, and SetMetadata keeps a value that a
	// client sets. Required.
	Metadata    func() Metadata
	SetMetadata func(key, value string) error
	// Shutdown asks the sidecar to stop, at once if now is true. It must not
	// wait for the end, and is called once the request for it has been answered.
	// Nil: it cannot be asked.
	Shutdown func(now bool)
	// SpeaksGRPC is true if the own app does.
	SpeaksGRPC bool

	// MaxMessage bounds a message in bytes, both ways. Zero: 4 MiB. Below zero:
	// no bound but what gRPC can say.
	MaxMessage int
	// Offers are the APIs that a client may use.
	Offers apilist.List
	// APILog gets each call once it is over, from many goroutines. Nil: no API
	// log.
	APILog func(APICall)
	// Served gets each call once it is over, from many goroutines. Nil: nobody
	// counts.
	Served func(Served)
	// Logger may be nil.
	Logger *slog.Logger
}

// An APICall is one line of the API log.
type APICall struct {
	// Method is the full name, such as /dapr.proto.runtime.v1.Dapr/GetState.
	Method    string
	Code      uint32
	Took      time.Duration
	UserAgent string
	Target    string // the app that InvokeService called, as it was given
}

// A Served is one call of a method, once it is over.
type Served struct {
	// Method is the full name.
	Method string
	Code   uint32
	// Received and Sent are the bytes of the request and the answer; negative
	// for a stream's.
	Received, Sent int64
	Took           time.Duration
	// Reason is the one in the details of an error; "" if it has none.
	Reason string
}

// A Server is the service. It is an http.Handler for the requests whose path is
// one of Methods or Reflection.
type Server struct {
	cfg        Config
	log        *slog.Logger
	max        int
	grpc       *grpc.Server
	methods    map[string]bool
	reflection map[string]bool
	groups     map[string]apilist.API
}

// New makes a Server. It starts nothing.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger, max: cfg.MaxMessage, groups: groups()}
	if s.cfg.State == nil {
		s.cfg.State = state.New(state.Config{App: cfg.Self.App(), Namespace: cfg.Self.Namespace()})
	}
	if s.cfg.Secrets == nil {
		s.cfg.Secrets = new(secrets.Block)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	switch {
	case s.max == 0:
		s.max = DefaultMaxMessage
	case s.max < 0:
		s.max = math.MaxInt32
	}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(s.max), grpc.MaxSendMsgSize(s.max),
		grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream),
	)
	s.grpc.RegisterService(s.describe(), s)
	s.methods = s.names()
	reflection.Register(s.grpc)
	s.reflection = s.names()
	for name := range s.methods {
		delete(s.reflection, name)
	}
	return s
}

// names are the full names of all methods that are registered now.
func (s *Server) names() map[string]bool {
	names := make(map[string]bool)
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			names["/"+service+"/"+m.Name] = true
		}
	}
	return names
}

// Methods are the paths of Dapr's own methods.
func (s *Server) Methods() map[string]bool { return s.methods }

// Reflection are the paths of the methods that describe the service to a
// client, if it does not ask for an app's.
func (s *Server) Reflection() map[string]bool { return s.reflection }

// bodySlack is what a request's body may have beside one message of the largest
// size.
const bodySlack = 64 << 10

// ServeHTTP answers one method. grpc-go reads a body as fast as it comes: no
// method here takes more than one large message, so more is not read.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r.Body, int64(s.max)+bodySlack), r.Body}
	if r.URL.Path != shutdownMethod {
		s.grpc.ServeHTTP(w, r)
		return
	}
	var after afterwards
	s.grpc.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), afterKey{}, &after)))
	if after != nil {
		after()
	}
}

// An afterwards is what a method wants to be done once it has been answered.
type afterwards func()

type afterKey struct{}

// Close ends what is still answered.
func (s *Server) Close() { s.grpc.Stop() }

// A dapr is what grpc-go checks a service's implementation against.
type dapr interface {
	InvokeService(context.Context, *runtimev1.InvokeServiceRequest) (*invokeResponse, error)
}

var _ dapr = (*Server)(nil)
