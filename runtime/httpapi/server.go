// Package httpapi is the front of both doors: it takes HTTP/1.1 and HTTP/2 on
// one port, decides who may use it, turns requests into calls and answers into
// responses. It carries nothing itself and knows no driver.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/apilist"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/secrets"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/tls/identity"
)

const (
	// headLimit is the size of a request's head if nothing else is said;
	// net/http adds headSlop to what it is told.
	headLimit = 64 << 10
	headSlop  = 4 << 10
	// headTimeout bounds the wait for a complete head, as Dapr's.
	headTimeout = 10 * time.Second
	// maxStreams is how many exchanges one HTTP/2 connection may have open.
	maxStreams = 1000
	// defaultDrain bounds the wait for open requests at the end.
	defaultDrain = 5 * time.Second
)

// Config is what a door is made of. Invoke and Self are required.
type Config struct {
	// Invoke carries out the calls.
	Invoke invoke.Handler
	// Self is whose door it is.
	Self identity.ID

	// AllowedOrigins are the origins whose pages may call, as Dapr's
	// --allowed-origins: * for any, one * within a name. Empty: none.
	AllowedOrigins []string
	// AllowedHosts are further names the door may be addressed by.
	AllowedHosts []string
	// HostName is this machine's name. Empty: the system's.
	HostName string
	// AllowOtherUsers lets other users of this machine connect.
	AllowOtherUsers bool
	// APIToken must come with each request but GETs of the health endpoints,
	// if it is not empty.
	APIToken string

	// APIs are the allow and deny lists of what is offered. Zero: everything.
	APIs config.APILists
	// MaxBody bounds what is read of a body for an endpoint of the API that is no
	// call. Default: 4 MiB; negative: no bound.
	MaxBody int64

	// MaxCallBody bounds the body of a call that is not gRPC. Zero: no bound, for
	// bodies are not held.
	MaxCallBody int64
	// State is the state building block. Nil: one without stores.
	State *state.Block
	// Secrets is the secrets building block. Nil: one without stores.
	Secrets *secrets.Block

	// Pipeline is what requests pass that are not gRPC, once they are let in and
	// before it is looked at what they are for: it may change them, and whatever
	// it is given it passes on in the same goroutine. Nil: nothing.
	Pipeline func(http.Handler) http.Handler

	// NotReady names what the sidecar still waits for, and NotReadyOutbound
	// what calls to others still wait for. Nil or an empty answer: ready.
	NotReady, NotReadyOutbound func() []string
	// Metadata says what the sidecar is. Nil: its id only.
	Metadata func() Metadata
	// Shutdown asks the sidecar to stop, at once if now is true. It must not
	// wait for the end. It is called once the request for it has been answered.
	// Nil: nothing happens.
	Shutdown func(now bool)
	// GRPC is Dapr's own gRPC service. Zero: its methods are unknown ones.
	GRPC GRPC
	// APILog gets each request that the door answers itself, once it is over,
	// from many goroutines: its own routes and errors. Calls that an app answers
	// are read from the tap. Nil: no API log.
	APILog func(APICall)
	// Served gets each request at the door once it is over, refused ones
	// included, from many goroutines. Nil: nobody counts.
	Served func(Served)
	// Failed gets the errorCode of each answer that the door makes of an error.
	// Nil: nobody counts them.
	Failed func(code string)
	// Own is asked before the head of an answer is written that the door gives
	// by itself: its own routes and what it refuses. It may add to the answer's
	// fields, and done is called when the answer is over. began is when the
	// request came. Calls are not among them. Nil: nobody asks.
	Own func(r *http.Request, began time.Time, answer http.Header) (done func(status int))

	// Standard leaves all connections to net/http, which is slower and there to
	// compare with.
	Standard bool
	// MaxHead bounds the head of a request, in bytes. Default: 64 KiB.
	MaxHead int

	// Drain bounds the wait for open requests at the end. Default: 5s.
	Drain time.Duration
	// MaxConns bounds the open connections of all listeners together; the next
	// one waits. Default: the descriptors this process may have, less 20 %.
	MaxConns int
	// Logger may be nil.
	Logger *slog.Logger
}

// A Server is a door. It may serve several listeners.
type Server struct {
	cfg     Config
	log     *slog.Logger
	hosts   map[string]bool
	origins origins
	extra   extended
	offers  table // the endpoints, and whether invocation is offered
	calls   bool
	slots   chan struct{} // one for each open connection
	cut     chan struct{} // closed by Cut
	once    sync.Once
	counts  counts

	warnUsers sync.Once
}

// New makes a Server. It opens nothing.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger, origins: parseOrigins(cfg.AllowedOrigins)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.Drain <= 0 {
		s.cfg.Drain = defaultDrain
	}
	if s.cfg.MaxHead <= 0 {
		s.cfg.MaxHead = headLimit
	}
	if s.cfg.MaxConns <= 0 {
		s.cfg.MaxConns = descriptorShare()
	}
	if s.cfg.HostName == "" {
		s.cfg.HostName, _ = os.Hostname() // without a name of its own the machine has only addresses
	}
	if s.cfg.MaxBody == 0 {
		s.cfg.MaxBody = defaultMaxBody
	}
	if s.cfg.State == nil {
		s.cfg.State = state.New(state.Config{App: cfg.Self.App(), Namespace: cfg.Self.Namespace()})
	}
	if s.cfg.Secrets == nil {
		s.cfg.Secrets = new(secrets.Block)
	}
	list := apilist.New(cfg.APIs, apilist.HTTP)
	s.offers, s.calls = newTable(endpoints, list), list.Offers(invocation)
	s.slots = make(chan struct{}, s.cfg.MaxConns)
	s.cut = make(chan struct{})
	s.hosts = hostSet(s.cfg.HostName, cfg.AllowedHosts)
	return s
}

// Serve answers requests on ln until ctx ends, then drains: it takes no new
// connection, lets open requests end for as long as Config.Drain, and cuts off
// the rest. It closes ln, and returns when nothing of it is left; nil if ctx
// was the reason.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, &door{Server: s, offers: s.offers, calls: s.calls, checkUsers: s.checksUsers(ln)})
}

// ServeHTTP1 is Serve without HTTP/2, and so without gRPC: Dapr's
// DAPR_HTTP_DISABLE_H2C.
func (s *Server) ServeHTTP1(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, &door{
		Server: s, offers: s.offers, calls: s.calls, checkUsers: s.checksUsers(ln), onlyHTTP1: true,
	})
}

// ServePublic is Serve for those who may only look: it offers health and
// metadata, to every user, without a token and without a line in the API log, as
// Dapr's public port.
func (s *Server) ServePublic(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, ln, &door{Server: s, offers: s.offers.only(groupHealth, groupMetadata), public: true})
}

func (s *Server) serve(ctx context.Context, ln net.Listener, d *door) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	d.base, d.passed = base, newHandover(ln.Addr())
	if d.cfg.Pipeline != nil && !d.public {
		d.piped = d.cfg.Pipeline(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := askOf(r) // it may be another one
			d.dispatch(w, r, a, apiPath(a.target))
		}))
	}
	d.h1 = h1.New(base, h1.Config{Handler: fast{d}, MaxHead: s.cfg.MaxHead, Logger: s.log})
	limited := newListener(ln, s.slots)
	srv := d.httpServer(base)
	var ended sync.WaitGroup
	ended.Go(func() { _ = srv.Serve(d.passed) }) // it ends by the shutdown below

	stop := context.AfterFunc(ctx, func() { _ = limited.Close() }) // accept says what is wrong with it
	err := d.accept(limited)                                       //nolint:contextcheck // the engines have base, which outlives ctx
	patience := s.cfg.Drain
	if stop() {
		patience = 0 // accepting failed
		_ = limited.Close()
	}
	limit, done := context.WithTimeout(base, patience)
	defer done()
	defer s.cutBy(done)()
	ended.Go(func() { d.h1.Shutdown(limit, errDoorClosed) })
	ended.Go(func() { d.h2.shutdown(limit) })
	if srv.Shutdown(limit) != nil {
		cancel(errDoorClosed)
		_ = srv.Close() // what is left is cut off
	}
	ended.Wait()
	d.served.Wait()
	cancel(errDoorClosed)
	d.open.wait()
	if ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// Cut ends the draining of doors that are closing, or will: requests that are
// still open are cut off.
func (s *Server) Cut() { s.once.Do(func() { close(s.cut) }) }

// cutBy has Cut call done, until the function it returns is called.
func (s *Server) cutBy(done func()) (stop func()) {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-s.cut:
			done()
		case <-ended:
		}
	})
	return func() {
		close(ended)
		watching.Wait()
	}
}

var errDoorClosed = errors.New("the door is closed")

// A door is a Server on one listener.
type door struct {
	*Server
	base       context.Context //nolint:containedctx // what requests have their values from
	offers     table
	calls      bool // what is no endpoint is a call
	public     bool // for those who may only look
	onlyHTTP1  bool
	piped      http.Handler // the pipeline before dispatch; nil without one
	checkUsers bool
	h1         *h1.Server
	h2         h2Conns
	passed     *handover      // what net/http serves
	served     sync.WaitGroup // connections on their way to their engine
	open       gauge          // net/http's requests and tunnels
}

func (d *door) httpServer(base context.Context) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(!d.onlyHTTP1)
	return &http.Server{
		Handler:           d,
		Protocols:         &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: headTimeout,
		MaxHeaderBytes:    max(d.cfg.MaxHead-headSlop, 1),
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		// OPTIONS * belongs to whom it is addressed to, as any other request.
		DisableGeneralOptionsHandler: true,
	}
}

type connKey struct{}

// connOf is the connection a request came on.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// ServeHTTP answers what net/http has read.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.open.add(1)
	defer d.open.add(-1)
	d.counts.standard.Add(1)
	d.answer(w, r)
}

// answer is the order in which a request is looked at.
func (d *door) answer(w http.ResponseWriter, r *http.Request) {
	a := askOf(r)
	if d.cfg.Served != nil || d.cfg.Own != nil || d.cfg.Failed != nil {
		watched := newWatched(d, w, r)
		w = watched
		defer watched.end(a.isGRPC())
	}
	if e := d.denyUser(r); e != nil {
		w.Header().Set("Connection", "close")
		write(w, render(a.isGRPC(), "", e))
		return
	}
	if e := d.denyOrigin(a); e != nil {
		write(w, render(a.isGRPC(), "", e))
		return
	}
	if d.origins.answer(w, r, a) {
		return
	}
	path := apiPath(a.target)
	if !d.public && !d.tokenGood(a, path) {
		write(w, tokenDenied(a))
		return
	}
	if d.serveGRPC(w, r, a) {
		return
	}
	if d.piped != nil && !a.isGRPC() {
		d.piped.ServeHTTP(w, r)
		return
	}
	d.dispatch(w, r, a, path)
}

// dispatch answers a request that was let in.
func (d *door) dispatch(w http.ResponseWriter, r *http.Request, a *ask, path string) {
	if d.cfg.APILog != nil && !d.public {
		logged := newLogged(w, r, a.isGRPC())
		w = logged
		defer func() {
			if !logged.relayed {
				d.cfg.APILog(logged.call())
			}
		}()
	}
	found, values, verbs := d.offers.find(r.Method, path)
	switch {
	case found != nil:
		d.api(w, r, found, values)
	case d.public, !d.calls && !a.isGRPC(): // lists for HTTP do not speak of gRPC
		write(w, notOffered(verbs))
	default:
		d.invoke(w, r, a)
	}
}
