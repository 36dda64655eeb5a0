package daprmesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/grpc"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// ServerConfig is what a Server is made of.
type ServerConfig struct {
	// Handler gets the calls, without a caller if they came in clear text.
	// Required.
	Handler invoke.Handler
	// SpeaksGRPC is true if the app does: the protocol's status is gRPC's then.
	SpeaksGRPC bool
	// MaxMessage bounds a message in bytes. Zero: 4 MiB; below zero: 2 GiB.
	MaxMessage int
	// Logger may be nil.
	Logger *slog.Logger
}

// A Server takes the calls of other sidecars. It is safe for concurrent use.
type Server struct {
	cfg  ServerConfig
	log  *slog.Logger
	grpc *grpc.Server

	mu      sync.Mutex // guards what follows
	conns   map[*h2.ServerConn]struct{}
	leaving bool
	serving sync.WaitGroup
}

// NewServer makes a Server. It opens nothing.
func NewServer(cfg ServerConfig) *Server {
	switch {
	case cfg.MaxMessage == 0:
		cfg.MaxMessage = defaultMaxMessage
	case cfg.MaxMessage < 0:
		cfg.MaxMessage = 1<<31 - 1
	}
	s := &Server{cfg: cfg, log: cfg.Logger, conns: map[*h2.ServerConn]struct{}{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(cfg.MaxMessage), grpc.MaxSendMsgSize(cfg.MaxMessage))
	internalsv1.RegisterServiceInvocationServer(s.grpc, local{s: s})
	return s
}

// SetState does nothing: the protocol has no word for it.
func (s *Server) SetState(discovery.State) {}

// Leave takes no new calls; those under way go on.
func (s *Server) Leave() {
	s.mu.Lock()
	s.leaving = true
	conns := make([]*h2.ServerConn, 0, len(s.conns))
	for sc := range s.conns {
		conns = append(conns, sc)
	}
	s.mu.Unlock()
	for _, sc := range conns {
		sc.Shutdown()
	}
}

var (
	errClosing = invoke.ErrStopping
	errFull    = errors.New("all connections to it are full")
	errExpired = errors.New("a certificate has expired")
)

// Serve takes calls on ln until ctx ends, lets those under way end for a moment,
// and cuts off the rest. It closes ln and returns when nothing of it is left;
// nil if ctx was the reason.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // Accept says so
	defer stop()
	err := s.accept(ctx, ln, base)
	s.end(base)
	return err
}

// accept serves what comes to ln until ctx ends.
func (s *Server) accept(ctx context.Context, ln net.Listener, base context.Context) error {
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.take(nc, base)
			continue
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to stop
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve the sidecars at %s: %w", ln.Addr(), err)
		}
		// Out of descriptors, most likely: others will give some back.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.log.Warn("a sidecar's connection was not accepted; retrying", "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// take serves a connection in clear text; end waits for it.
func (s *Server) take(nc net.Conn, base context.Context) {
	if sc := s.admit(nc, base, identity.ID{}); sc != nil {
		go func() {
			defer s.done(sc)
			sc.Serve()
		}()
	}
}

// ServeConn takes the calls of the sidecar caller, which has proved who it is by
// the TLS of nc. It owns nc, and returns when nothing of it is left. From until
// on it takes no new calls, and it cuts off those under way when expires has
// come, or a moment after ctx has ended. Zero times are never.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, caller identity.ID, until, expires time.Time) {
	sc := s.admit(nc, ctx, caller)
	if sc == nil {
		return
	}
	defer s.done(sc)
	if !until.IsZero() {
		defer time.AfterFunc(time.Until(until), sc.Shutdown).Stop()
		defer time.AfterFunc(time.Until(expires), func() { sc.Close(errExpired) }).Stop()
	}
	ended, parted := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(parted)
		sc.Shutdown()
		select {
		case <-ended:
		case <-time.After(drainTime):
			sc.Close(errClosing)
		}
	})
	sc.Serve()
	close(ended)
	if !stop() {
		<-parted
	}
}

// admit counts a connection; nil if there are too many. One that comes while we
// leave is told so, which proves to the caller what was not taken.
func (s *Server) admit(nc net.Conn, base context.Context, caller identity.ID) *h2.ServerConn {
	sc := (&h2.Server{Handler: s.exchange, Values: context.WithValue(base, callerKey{}, caller)}).NewConn(nc)
	s.mu.Lock()
	full, leaving := len(s.conns) >= maxServed, s.leaving
	if !full {
		s.conns[sc] = struct{}{}
		s.serving.Add(1)
	}
	s.mu.Unlock()
	if full {
		_ = nc.Close() // nobody serves it
		return nil
	}
	if leaving {
		sc.Shutdown()
	}
	return sc
}

// callerKey is whose calls a connection carries, in its context.
type callerKey struct{}

// callerOf is who calls; nobody if it has proved nothing.
func callerOf(ctx context.Context) identity.ID {
	id, _ := ctx.Value(callerKey{}).(identity.ID)
	return id
}

func (s *Server) done(sc *h2.ServerConn) {
	s.mu.Lock()
	delete(s.conns, sc)
	s.mu.Unlock()
	s.serving.Done()
}

// end lets what is under way end, for a moment.
func (s *Server) end(base context.Context) {
	s.Leave()
	limit, cancel := context.WithTimeout(base, drainTime)
	defer cancel()
	stop := context.AfterFunc(limit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for sc := range s.conns {
			sc.Close(errClosing)
		}
	})
	defer stop()
	s.serving.Wait()
}

// exchange answers one exchange: Dapr's service, or a gRPC service of the app's.
func (s *Server) exchange(ctx *callctx.Context, x *h2.Stream) {
	switch {
	case !isGRPC(x.Fields().Get("content-type")):
		_ = x.Reply(415, invoke.Fields{{Name: "content-type", Value: "text/plain"}}, // a client that is gone cannot be told
			[]byte("this port is for other sidecars: it speaks gRPC only\n"))
	case strings.HasPrefix(x.Path(), service):
		h2.ServeHTTP(ctx, x, s.grpc, s.log)
	default:
		s.proxy(ctx, x)
	}
}
