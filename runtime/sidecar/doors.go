package sidecar

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/runtime/httpapi"
)

// openDoors builds what answers at the doors.
func (s *sidecar) openDoors() {
	s.followSecrets()
	s.doors = httpapi.New(httpapi.Config{
		Invoke: s.net.invoker, GRPC: grpcDoor(s.service), State: s.state, Self: s.workload.ID(),
		AllowedOrigins: s.cfg.AllowedOrigins, AllowedHosts: s.allowedHosts(),
		AllowOtherUsers: s.cfg.AllowOtherUsers || !s.cfg.Profile.OwnUserDoors, APIToken: s.cfg.APIToken,
		APIs: s.resources.current().Configuration.API, Pipeline: s.pipeline(), Secrets: &s.secrets,
		NotReady: s.notReady, Metadata: s.metadata,
		Standard: s.standard(), MaxHead: int(s.cfg.ReadBuffer), MaxBody: s.cfg.MaxBody, MaxCallBody: max(s.cfg.MaxBody, 0),
		Shutdown: s.ask, APILog: s.doorLog(), Own: s.ownTrace(), Served: s.served(), Failed: s.countFailed(), Drain: s.doorDrain(), Logger: s.log,
	})
}

// doorTasks serve what is bound of the doors.
func (s *sidecar) doorTasks() []lifecycle.Task {
	var tasks []lifecycle.Task
	add := func(what string, d door, serve func(context.Context, net.Listener) error) {
		for _, ln := range d.listeners {
			tasks = append(tasks, s.ward.task(what+" "+ln.Addr().String(), func(parts context.Context) error { return serve(parts, ln) }))
		}
	}
	serveHTTP := s.doors.Serve
	if s.cfg.Profile.AsDaprd && truthy(lookupIn(s.env.Environ)("DAPR_HTTP_DISABLE_H2C")) {
		serveHTTP = s.doors.ServeHTTP1
	}
	add("door", s.http, serveHTTP)
	add("door", s.grpc, s.doors.Serve)
	add("public door", s.public, s.doors.ServePublic)
	return tasks
}

// truthy is what Dapr takes for yes.
func truthy(s string) bool {
	return slices.Contains([]string{"y", "yes", "true", "t", "on", "1"}, strings.ToLower(strings.TrimSpace(s)))
}

// pipeline is what requests at the doors pass, as the resources have it from
// time to time; nil if there was nothing at the start.
func (s *sidecar) pipeline() func(http.Handler) http.Handler {
	if s.resources.current().pipeline == nil {
		return nil
	}
	return func(next http.Handler) http.Handler {
		var chain atomic.Pointer[http.Handler]
		build := func(_, now *resources) {
			h := next
			if now.pipeline != nil {
				h = now.pipeline(next)
			}
			chain.Store(&h)
		}
		build(nil, s.resources.current())
		s.resources.onChange(build)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*chain.Load()).ServeHTTP(w, r) })
	}
}

// followSecrets has the secrets block hold what the resources have from time to
// time.
func (s *sidecar) followSecrets() {
	use := func(_, now *resources) { s.secrets.Use(now.SecretStores, now.Configuration.SecretScopes) }
	s.resources.onChange(use)
	use(nil, s.resources.current())
}
