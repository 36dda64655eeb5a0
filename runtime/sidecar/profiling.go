package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"time"

	"github.com/pillion-dev/pillion/internal/lifecycle"
)

// defaultProfilePort is daprd's.
const defaultProfilePort = 7777

// bindProfiling opens the listener of --enable-profiling: on loopback, as the
// doors, and only if it was asked for.
func (s *sidecar) bindProfiling(ctx context.Context) error {
	if !s.cfg.Profiling {
		if s.env.Own {
			runtime.MemProfileRate = 0 // samples that nobody can ask for
		}
		return nil
	}
	var err error
	if s.pprof, err = bindDoor(ctx, s.cfg.ProfilePort, defaultProfilePort, s.cfg.Spared); err != nil {
		return s.taken(err, s.cfg.ProfilePort, "--profile-port")
	}
	s.say(Notice{Text: "profiles are at http://" + net.JoinHostPort("localhost", strconv.Itoa(int(s.pprof.port))) + "/debug/pprof/"})
	return nil
}

// profilingTasks serve profiles until the sidecar ends.
func (s *sidecar) profilingTasks() []lifecycle.Task {
	var tasks []lifecycle.Task
	for _, ln := range s.pprof.listeners {
		tasks = append(tasks, lifecycle.Task{Name: "profiles " + ln.Addr().String(), Run: func(ctx context.Context) error {
			return serveBeside(ctx, ln, profiles(), "profiles")
		}})
	}
	return tasks
}

// serveBeside answers on ln until ctx ends. An answer that is being given then
// is cut short: nobody waits for it.
func serveBeside(ctx context.Context, ln net.Listener, h http.Handler, what string) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = srv.Close() // it ends either way
		close(closed)
	})
	err := srv.Serve(ln)
	if !stop() {
		<-closed
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s on %s: %w", what, ln.Addr(), err)
}

// profiles is what net/http/pprof offers.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return forThisMachine(mux, "profiles")
}

// forThisMachine is h for names of this machine only: a web page that has its
// own name lead here must not read what it says.
func forThisMachine(h http.Handler, what string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.Host); err != nil || host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, what+" are for localhost", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
