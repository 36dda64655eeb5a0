package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rundir"
)

// Bounds of the control socket.
const (
	maxConns    = 64
	maxHead     = 16 << 10
	headTime    = 5 * time.Second
	idleTime    = 30 * time.Second
	writeTime   = 5 * time.Second
	lookEvery   = 100 * time.Millisecond // how often the state is looked at while stopping
	reopenEvery = time.Second
	heartbeat   = time.Second     // the longest silence of an answer
	farewell    = 2 * time.Second // for the last lines, once the instance is over
	contentJSON = "application/json"
)

// Serve answers on the registration's socket until ctx ends; the answers to
// requests to stop get their last line then, so end ctx only once Status says
// how it went. It opens the socket with mode 0600, opens it again when the
// registration was restored, and removes it at the end. It returns nil when
// ctx has ended.
func Serve(ctx context.Context, r *rundir.Registration, c Control) error {
	over := make(chan struct{})
	s := &server{control: c, over: over}
	srv := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHead,
	}
	ln, err := listen(ctx, r.Entry().Socket)
	if err != nil {
		return err
	}
	r.SocketOpened()
	served := make(chan error, 1)
	serve := func() { served <- srv.Serve(limit(ln)) }
	go serve()
	for {
		select {
		case <-ctx.Done():
			close(over)
			s.lastWords()
			_ = srv.Close() // whoever is left has asked nothing yet
			return ended(<-served)
		case <-r.Restored():
			_ = ln.Close() // its path belongs to nobody any more
			if err := ended(<-served); err != nil {
				return err
			}
			if ln = reopen(ctx, r.Entry().Socket); ln == nil {
				close(over)
				s.lastWords()
				return srv.Close()
			}
			go serve()
		case err := <-served:
			close(over)
			return fmt.Errorf("serve %s: %w", ln.Addr(), err)
		}
	}
}

// reopen is listen, tried until it works: the app runs on without a control
// socket. It returns nil when ctx has ended.
func reopen(ctx context.Context, path string) net.Listener {
	for {
		ln, err := listen(ctx, path)
		if err == nil {
			return ln
		}
		if !sleep(ctx, reopenEvery) {
			return nil
		}
	}
}

// ended is what the end of a server means that was closed by us.
func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("serve the control socket: %w", err)
}

// listen opens the socket. What is at path can only be ours or left over: the
// instance's lock is held.
func listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close() // already reporting the first error
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return ln, nil
}

type server struct {
	control Control
	over    <-chan struct{} // closed when nothing will change any more

	mu        sync.Mutex // guards what follows
	narrators int
	quiet     chan struct{} // closed when the last narrator has ended; nil if nobody waits for that
}

// narrate counts a narrator in; the result counts it out.
func (s *server) narrate() (ended func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.narrators++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.narrators--; s.narrators == 0 && s.quiet != nil {
			close(s.quiet)
			s.quiet = nil
		}
	}
}

// lastWords waits until every answer to a request to stop has its last line. A
// reader that does not read is not waited for.
func (s *server) lastWords() {
	s.mu.Lock()
	waiting := s.narrators > 0
	if waiting {
		s.quiet = make(chan struct{})
	}
	quiet := s.quiet
	s.mu.Unlock()
	if !waiting {
		return
	}
	t := time.NewTimer(farewell)
	defer t.Stop()
	select {
	case <-quiet:
	case <-t.C:
	}
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/stop", s.stop)
	mux.HandleFunc("POST /v1/restart", s.restart)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// Nothing here takes a body, so nobody has to bound the reading of it.
			w.Header().Set("Connection", "close")
			answer(w, http.StatusRequestEntityTooLarge, &apperr.Error{Reason: apperr.Usage, What: "a request here has no body"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *server) status(w http.ResponseWriter, _ *http.Request) {
	status := s.control.Status()
	status.Uptime = time.Since(status.Since)
	answer(w, http.StatusOK, status)
}

// stop asks the instance to stop and tells, a JSON object a line, how it goes.
func (s *server) stop(w http.ResponseWriter, r *http.Request) {
	now := false
	if text := r.URL.Query().Get("now"); text != "" {
		var err error
		if now, err = strconv.ParseBool(text); err != nil {
			answer(w, http.StatusBadRequest, &apperr.Error{Reason: apperr.Usage, What: fmt.Sprintf("now is true or false, not %q", text)})
			return
		}
	}
	n := newNarrator(s, w)
	n.now = now
	defer s.narrate()()
	n.before = s.control.Status().Calls
	if err := s.control.Stop(r.Context(), now); err != nil {
		answer(w, http.StatusInternalServerError, apperr.From(err))
		return
	}
	n.run(r.Context())
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the reader has gone away
}

// A narrator writes the answer to one request to stop or to restart.
type narrator struct {
	server *server
	out    http.ResponseWriter
	flush  *http.ResponseController
	now    bool
	began  time.Time
	before int // calls in flight when it was asked
	last   Progress
	said   time.Time
}

func newNarrator(s *server, w http.ResponseWriter) *narrator {
	return &narrator{server: s, out: w, flush: http.NewResponseController(w), began: time.Now()}
}

// run writes a line for each change until the instance is over or the reader
// has gone.
func (n *narrator) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		over := false
		select {
		case <-n.server.over:
			over = true
		default:
		}
		if !n.say(over) || over {
			return
		}
		select {
		case <-ctx.Done():
			return // the stopping goes on without an audience
		case <-n.server.over:
		case <-tick.C:
		}
	}
}

// say writes a line if there is something new, or nothing was said for long,
// and reports whether somebody still listens.
func (n *narrator) say(over bool) bool {
	status := n.server.control.Status()
	p := Progress{State: status.State, Calls: status.Calls, Ending: status.Ending}
	if over {
		p.Last, p.Phase = true, Over
		if !n.now && len(p.Killed) == 0 {
			p.Finished = max(0, n.before-p.Calls)
		}
	}
	fresh := p.Last || p.State != n.last.State || p.Calls != n.last.Calls || !p.equal(n.last.Ending) || time.Since(n.said) >= heartbeat
	if !fresh {
		return true
	}
	return n.line(p)
}

// line writes p and reports whether somebody still listens.
func (n *narrator) line(p Progress) bool {
	n.last, n.said = p, time.Now()
	p.TookMS = time.Since(n.began).Milliseconds()
	n.out.Header().Set("Content-Type", "application/x-ndjson")
	_ = n.flush.SetWriteDeadline(time.Now().Add(writeTime)) // a socket always can
	return json.NewEncoder(n.out).Encode(p) == nil && n.flush.Flush() == nil
}

// limit bounds the connections of ln; more of them wait.
func limit(ln net.Listener) net.Listener {
	return &limited{Listener: ln, slots: make(chan struct{}, maxConns), closed: make(chan struct{})}
}
