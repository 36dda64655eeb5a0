package mesh_test

import (
	"context"
	"io"
	"testing"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A full link takes a call in a tunnel's place as soon as both of the tunnel's
// ends have been said, though its app is not done with the last bytes.
func TestATunnelThatHasEndedLeavesItsPlaceOnAFullLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Upgrade == "" {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return &invoke.Answer{
			Status: 101, Major: 1, Length: -1, Body: invoke.BytesBody(nil), Upgraded: slowHalf{ctx.Done()},
		}, nil
	})
	p := w.dialRaw(t, s.at.Addrs[0].String())
	tunnel := "\x00\x01\x01\x00\x00" + str("GET") + str("/") + str("") + str("chat") + str("callee") + str("default") + "\x00"
	_, _ = p.Write(join(frame(2, 0, hello), manyCalls(999), frame(16, 1000, tunnel)))
	for range 2 { // the tunnel's head and end
		if _, call, _, err := p.next(); err != nil || call != 1000 {
			t.Fatalf("frame of call %d, %v", call, err)
		}
	}
	_, _ = p.Write(join(frame(22|theEnd, 1000, ""), frame(16|theEnd, 1001, head("GET", "/")), frame(3, 0, "still there")))
	if kind, _, payload, err := p.next(); kind != 4 || err != nil {
		t.Errorf("the link is cut: kind %d, %q, %v", kind, payload, err)
	}
}

// A slowHalf is an app that is not done with the client's bytes until the call
// ends.
type slowHalf struct{ over <-chan struct{} }

func (slowHalf) Write(p []byte) (int, error) { return len(p), nil }

func (h slowHalf) CloseWrite() error {
	<-h.over
	return io.ErrClosedPipe
}
