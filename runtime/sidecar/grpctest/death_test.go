package grpctest_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
)

// mortal is an app of the test's own, behind a sidecar of its own that waits for
// it. Its port is nobody else's when it has died.
func (s *scene) mortal(id string, options ...grpc.ServerOption) {
	s.t.Helper()
	port := porttest.Reserve(s.t)
	a, err := newApp(nil, options...)
	if err == nil {
		err = a.open(port.Addr())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(a.close)
	s.app, s.id = a, id
	s.mesh.sidecar(s.t, id, "--app-port", a.port(), "--app-protocol", "grpc", "--hold", patience.String())
}

// reborn is the app once more, on the port it had, with h as its first method.
func (s *scene) reborn(h handler) {
	s.t.Helper()
	address := s.app.ln.Addr().String()
	a, err := newApp(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	a.method(s.t, h)
	until(s.t, "the port is free", func() bool { return a.open(address) == nil })
	s.t.Cleanup(a.close)
	s.app = a
}

func TestAppDiesInMidStream(t *testing.T) {
	engines(t, func(s *scene) {
		survivor := s.open(s.ctx(), s.method(echo))
		s.mustSay(survivor, "before")
		s.mustHear(survivor, "before")

		s.mortal("mortal")
		begun, ended := make(chan struct{}, 2), make(chan struct{}, 2)
		name := s.method(waits(begun, ended))
		streams := []grpc.ClientStream{s.open(s.ctx(), name), s.open(s.ctx(), name)}
		for _, stream := range streams {
			s.mustHear(stream, "begun")
		}
		s.app.close()
		for _, stream := range streams {
			_, err := hear(stream)
			if info := ours(s.t, err, apperr.AppGone); info.GetMetadata()["reached"] != "maybe" {
				s.t.Errorf("details = %v", info)
			}
		}
		s.mustSay(survivor, "after")
		s.mustHear(survivor, "after")

		// The next call waits for the app, and finds the new one.
		answered := make(chan error, 1)
		ctx := s.ctx()
		go func() {
			_, err := s.ask(ctx, firstMethod, "again")
			answered <- err
		}()
		s.reborn(echo)
		if err := wait(s.t, "the call that waited is answered", answered); err != nil {
			s.t.Error(err)
		}
	})
}

// An app may close connections as often as it likes, as long as it says which
// calls it has taken: none of them fails, none comes twice.
func TestAppThatClosesItsConnections(t *testing.T) {
	engines(t, func(s *scene) {
		s.mortal("restless", grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: 50 * time.Millisecond, MaxConnectionAgeGrace: patience,
		}))
		var mu sync.Mutex
		times := map[string]int{}
		name := s.method(func(stream grpc.ServerStream) error {
			text, err := hear(stream)
			if err != nil {
				return err
			}
			mu.Lock()
			times[text]++
			mu.Unlock()
			return say(stream, text)
		})
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				for i := range 200 {
					text := fmt.Sprintf("%d/%d", n, i)
					if got, err := s.ask(s.ctx(), name, text); err != nil || got != text {
						s.t.Errorf("call %s: %q, %v", text, got, err)
						return
					}
				}
			})
		}
		all.Wait()
		for text, n := range times {
			if n != 1 {
				s.t.Errorf("%s came %d times", text, n)
			}
		}
	})
}
