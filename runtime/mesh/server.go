package mesh

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// ServerConfig is what a Server is made of. TLS and Handler are required.
type ServerConfig struct {
	// TLS is the configuration of the links. It must require the callers'
	// certificates.
	TLS *tls.Config
	// Handler gets the calls, with Caller set from the verified certificate.
	Handler invoke.Handler
	// Instance, Version and State are what the greeting says of us.
	Instance, Version string
	State             discovery.State
	// Expires is when our own leaf ends; it is asked at each handshake. Nil is
	// never.
	Expires func() time.Time
	// Foreign serves a connection on which TLS offers another protocol than
	// ours, and the caller has chosen it. It owns conn, takes no new call after
	// until, and returns when the connection has ended, as it does soon after
	// ctx ends and when it expires. Zero times are never. Nil: such a connection
	// is closed.
	Foreign func(ctx context.Context, conn net.Conn, caller identity.ID, until, expires time.Time)
	// Logger gets a line for each link, at debug level. Nil discards.
	Logger *slog.Logger
}

// A Server takes calls from other sidecars. It is safe for concurrent use.
type Server struct {
	cfg        ServerConfig
	log        *slog.Logger
	handshakes chan struct{} // holds a token for each handshake in progress

	mu    sync.Mutex // guards what follows
	state discovery.State
	links map[*served]struct{}
}

// NewServer makes a Server. It listens to nothing yet.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		cfg: cfg, log: cfg.Logger, state: cfg.State,
		handshakes: make(chan struct{}, maxHandshakes),
		links:      map[*served]struct{}{},
	}
}

// SetState tells all callers, present and future, how this instance is.
func (s *Server) SetState(state discovery.State) {
	s.mu.Lock()
	s.state = state
	s.mu.Unlock()
	for _, sv := range s.served() {
		_ = sv.control(kindState, 0, []byte(state)) // the link has ended, or will
		sv.push()
	}
}

// Leave tells all present callers that no call is taken on their links any
// more. Those that arrive on new links are still handed on: whether they are
// served is the Handler's business.
func (s *Server) Leave() {
	for _, sv := range s.served() {
		sv.retire()
	}
}

// Inflight is how many calls are open.
func (s *Server) Inflight() int {
	n := 0
	for _, sv := range s.served() {
		n += sv.open()
	}
	return n
}

func (s *Server) served() []*served {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*served, 0, len(s.links))
	for sv := range s.links {
		all = append(all, sv)
	}
	return all
}

// Serve takes links from ln, on whose connections it speaks TLS, until ctx ends. Then it closes ln, tells the callers,
// cancels the calls that are still open, and returns nil when all of them have
// ended. Give calls time with Leave, and by ending ctx late. It may be called
// for several listeners; what ends one ends the links of all.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	// Calls end in order, after their callers have been told.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var work sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // releases Accept
	defer stop()
	err := s.accept(ctx, ln, func(conn net.Conn) {
		work.Go(func() { s.link(base, conn) })
	})
	_ = ln.Close() // closed already, or already reporting the first error
	s.Leave()
	stopping := &apperr.Error{Reason: apperr.PeerGone, What: "the app's sidecar is stopping", Cause: "it was told to stop before the answer was complete"}
	cancel(stopping) // from here on no link begins
	for _, sv := range s.served() {
		sv.retire() // a link that began behind Leave
		sv.cancelCalls(stopping)
	}
	s.part(&work)
	return err
}

// part waits for the links to end, and makes them.
func (s *Server) part(work *sync.WaitGroup) {
	for _, sv := range s.served() {
		sv.part()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		work.Wait()
	}()
	timer := time.NewTimer(partingTime)
	defer timer.Stop()
	select {
	case <-ended:
		return
	case <-timer.C:
	}
	for _, sv := range s.served() {
		sv.end(errClosing, nil)
	}
	<-ended
}

// accept gives each connection to take until ctx ends.
func (s *Server) accept(ctx context.Context, ln net.Listener, take func(net.Conn)) error {
	const longest = time.Second
	pause := time.Duration(0)
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			take(conn)
			continue
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to stop
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve the mesh at %s: %w", ln.Addr(), err)
		}
		// Out of descriptors, most likely: others will give some back.
		pause = min(max(2*pause, 5*time.Millisecond), longest)
		s.log.Warn("mesh connection not accepted; retrying", "err", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// link serves one connection until it has ended and its calls have returned.
func (s *Server) link(ctx context.Context, conn net.Conn) {
	sock := newSocket(conn)
	secure, caller, err := s.handshake(ctx, sock)
	if err == nil && s.cfg.Foreign != nil && secure.ConnectionState().NegotiatedProtocol != ALPN {
		until, expires := mtls.Lifetime(secure.ConnectionState(), s.cfg.Expires, retireAhead/2)
		s.cfg.Foreign(ctx, secure, caller, until, expires)
		return
	}
	var sv *served
	if err == nil {
		sv, err = s.begin(ctx, secure, sock, caller)
	}
	if err != nil {
		s.log.Debug("link refused", "address", conn.RemoteAddr(), "err", err)
		_ = conn.Close() // err is the one to report
		return
	}
	s.log.Debug("link begun", "caller", sv.caller, "address", conn.RemoteAddr())
	sv.push() // the greeting
	sv.run(newFrameReader(sv.conn))
	sv.calls.Wait()
	sv.crew.dismiss(true)
	sv.look.Stop()
	s.mu.Lock()
	delete(s.links, sv)
	s.mu.Unlock()
	s.log.Debug("link ended", "caller", sv.caller, "address", conn.RemoteAddr(), "why", sv.cause())
}

var errTooMany = errors.New("as many as there may be")

// handshake learns who the peer is. Nothing of ours is sent before.
func (s *Server) handshake(ctx context.Context, sock *socket) (*tls.Conn, identity.ID, error) {
	select {
	case s.handshakes <- struct{}{}:
		defer func() { <-s.handshakes }()
	default:
		return nil, identity.ID{}, fmt.Errorf("handshakes in progress: %w", errTooMany)
	}
	secure := tls.Server(sock, s.cfg.TLS)
	limited, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := secure.HandshakeContext(limited); err != nil {
		return nil, identity.ID{}, err
	}
	caller, err := mtls.PeerID(secure.ConnectionState())
	return secure, caller, err
}

// begin greets the caller and counts the link.
func (s *Server) begin(ctx context.Context, secure *tls.Conn, sock *socket, caller identity.ID) (*served, error) {
	cs := secure.ConnectionState()
	if cs.NegotiatedProtocol != ALPN {
		return nil, fmt.Errorf("the client speaks %q, not %q", cs.NegotiatedProtocol, ALPN)
	}
	sv := newServed(ctx, s, caller, secure, sock)
	sv.until, sv.expires = mtls.Lifetime(cs, s.cfg.Expires, retireAhead/2)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(s.links) >= maxServed {
		return nil, fmt.Errorf("links: %w", errTooMany)
	}
	g := greeting{
		oldest: oldestRevision, newest: newestRevision, state: s.state,
		instance: s.cfg.Instance, version: s.cfg.Version, calls: maxCalls,
	}
	if err := sv.control(kindGreeting, 0, g.encode()); err != nil {
		return nil, err
	}
	s.links[sv] = struct{}{}
	return sv, nil
}

// retire tells the caller that no call above the last one is taken.
func (sv *served) retire() {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.leaving || sv.err != nil {
		return
	}
	sv.leaving = true
	sv.queue(kindLeaving, 0, binary.AppendUvarint(nil, uint64(sv.last)))
	if sv.writer == nobody {
		sv.handOver()
	}
}
