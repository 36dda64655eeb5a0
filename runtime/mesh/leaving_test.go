package mesh_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
	"github.com/pillion-dev/pillion/tls/identity"
)

func TestLeavingUnderLoadLosesNoCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var executed sync.Map
	count := func(name string) invoke.HandlerFunc {
		return func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
			if _, twice := executed.LoadOrStore(c.Path, name); twice {
				t.Errorf("%s was executed twice", c.Path)
			}
			return echo(ctx, c)
		}
	}
	leaver, other := w.serveAs("leaver01", count("leaver")), w.serveAs("other001", count("other"))
	tr := w.transport()
	var wg sync.WaitGroup
	var moved, made atomic.Int32
	for worker := range 16 {
		wg.Go(func() {
			for n := range 200 {
				c := call("body")
				c.Path = "/" + string(rune('a'+worker)) + "/" + string(rune('0'+n))
				a, err := tr.Send(t.Context(), leaver.at, w.callee.ID(), c)
				if apperr.From(err) != nil && apperr.From(err).Reached == apperr.ReachedNo {
					moved.Add(1)
					again := call("body")
					again.Path = c.Path
					a, err = tr.Send(t.Context(), other.at, w.callee.ID(), again)
				}
				if err != nil {
					t.Errorf("call %s: %v", c.Path, err)
					return
				}
				if got, err := io.ReadAll(a.Body); err != nil || string(got) != "body" {
					t.Errorf("call %s: %q, %v", c.Path, got, err)
				}
				made.Add(1)
			}
		})
	}
	until(t, "calls are made", func() bool { return made.Load() > 300 })
	for range 5 { // each time on the links there are
		leaver.Leave()
		before := made.Load()
		until(t, "calls go on", func() bool { return made.Load() > before+50 || made.Load() == 3200 })
	}
	wg.Wait()
	n := 0
	executed.Range(func(any, any) bool { n++; return true })
	if n != 16*200 {
		t.Errorf("%d calls were executed, want %d", n, 16*200)
	}
	t.Logf("%d calls moved on", moved.Load())
}

func TestALinkThatIsLeftTakesNoNewCallsAndEndsTheOldOnes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ln := w.listen()
	conns := make(chan net.Conn, 4)
	release := make(chan struct{})
	s := w.serveOn(&spyListener{ln, conns}, "inst0001", func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Path == "/slow" {
			<-release
		}
		return answer(200, c.Path), nil
	})
	tr := w.transport()
	slow := make(chan string, 1)
	go func() {
		c := get()
		c.Path = "/slow"
		a, err := tr.Send(t.Context(), s.at, w.callee.ID(), c)
		if err != nil {
			slow <- err.Error()
			return
		}
		got, _ := io.ReadAll(a.Body)
		slow <- string(got)
	}()
	until(t, "the slow call is there", func() bool { return s.Inflight() == 1 })
	s.Leave()
	// Whether it has heard or not: a call is answered, or proven not taken.
	until(t, "a second link", func() bool {
		a, err := tr.Send(t.Context(), s.at, w.callee.ID(), get())
		if err != nil {
			wants(t, apperr.From(err), apperr.Refused, apperr.ReachedNo, "takes no new calls")
			return false
		}
		_ = a.Body.Close()
		return len(conns) == 2
	})
	close(release)
	if got := within(t, "the slow call", slow); got != "/slow" {
		t.Errorf("the call on the link that was left = %q", got)
	}
	// The old link is closed by the caller once it is empty.
	until(t, "one link is left", func() bool {
		_, err := (<-conns).Write(nil)
		return err != nil || len(conns) == 0
	})
}

func TestEndingServeCancelsWhatIsOpenAndTellsTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		<-ctx.Done()
		return nil, apperr.From(context.Cause(ctx))
	})
	go func() {
		until(t, "the call is there", func() bool { return s.Inflight() == 1 })
		s.stop()
	}()
	e := w.fails(w.transport(), s.at, call("x"))
	wants(t, e, apperr.PeerGone, apperr.ReachedMaybe, "told to stop")
}

func TestALinkIsReplacedBeforeALeafExpiresAndCutWhenItHas(t *testing.T) {
	t.Parallel()
	h := func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Path == "/stream" {
			return &invoke.Answer{Status: 200, Major: 1, Length: -1, Body: &untilDone{ctx.Done()}}, nil
		}
		return answer(200, ""), nil
	}
	bubble(t, h, func(w *world, p *pipeNet, _ *mesh.Transport, _ *mesh.Server, at discovery.Endpoint) {
		// Leaves are not made for less than minutes: what expires is what we say
		// of our own.
		var expires atomic.Pointer[time.Time]
		end := time.Now().Add(3 * time.Second)
		expires.Store(&end)
		tr := mesh.NewTransport(mesh.TransportConfig{
			TLS: func(want identity.ID, _ discovery.Key) *tls.Config {
				return w.caller.Client(want, label, mesh.ALPN)
			},
			Dial:    p.dial,
			Expires: func() time.Time { return *expires.Load() },
		})
		c := get()
		c.Path = "/stream"
		stream := w.send(tr, at, c)
		later := time.Now().Add(time.Hour)
		expires.Store(&later)
		until(t, "a second link for new calls", func() bool {
			w.roundTrip(tr, at, get())
			return len(p.dialed) == 2
		})
		if !time.Now().Before(end) {
			t.Error("the second link came when the first one was cut")
		}
		if _, err := stream.Body.Read(make([]byte, 1)); !apperr.Is(err, apperr.PeerGone) {
			t.Errorf("the stream on the expired link = %v", err)
		}
		if time.Now().Before(end) {
			t.Error("the stream was cut before its time")
		}
		w.roundTrip(tr, at, get())
		_ = tr.Close()
	})
}

// An untilDone body has nothing to say and ends with its call.
type untilDone struct{ done <-chan struct{} }

func (b *untilDone) Read([]byte) (int, error) {
	<-b.done
	return 0, context.Canceled
}
func (*untilDone) Close() error            { return nil }
func (*untilDone) Trailers() invoke.Fields { return nil }
