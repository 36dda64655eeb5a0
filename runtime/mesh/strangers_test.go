package mesh_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
)

// What follows writes and reads frames without the code under test.

func frame(kind byte, call uint32, payload string) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind}
	b = binary.BigEndian.AppendUint32(b, call)
	return append(b, payload...)
}

func str(s string) string { return string(binary.AppendUvarint(nil, uint64(len(s)))) + s }

const (
	hello  = "pillion\x02\x02"
	theEnd = 0x80
)

// head is an encoded call without fields.
func head(verb, path string) string {
	return "\x00\x01\x01\x00\x00" + str(verb) + str(path) + str("") + str("") + str("callee") + str("default") + "\x00"
}

// A rawPeer is the other end of a link, spoken by hand.
type rawPeer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// next is the next frame but a ping, which is answered: they come when nothing
// else does, on a machine that is slow.
func (p *rawPeer) next() (kind byte, call uint32, payload string, err error) {
	for kind, call, payload, err = p.read(); kind == 3 && err == nil; kind, call, payload, err = p.read() {
		_, _ = p.Write(frame(4, 0, payload))
	}
	return kind, call, payload, err
}

func (p *rawPeer) read() (kind byte, call uint32, payload string, err error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	var h [8]byte
	if _, err = io.ReadFull(p.r, h[:]); err != nil {
		return 0, 0, "", err
	}
	b := make([]byte, int(h[0])<<16|int(h[1])<<8|int(h[2]))
	_, err = io.ReadFull(p.r, b)
	return h[3], binary.BigEndian.Uint32(h[4:]), string(b), err
}

// dialRaw is a client with a good certificate that has read the greeting.
func (w *world) dialRaw(t *testing.T, addr string) *rawPeer {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, w.caller.Client(w.callee.ID(), label, mesh.ALPN))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p := &rawPeer{t, conn, bufio.NewReader(conn)}
	kind, _, payload, err := p.next()
	if err != nil || kind != 1 || !strings.HasPrefix(payload, hello) || !strings.Contains(payload, "inst0001") || !strings.Contains(payload, "ready") {
		t.Fatalf("greeting: kind %d, %q, %v", kind, payload, err)
	}
	return p
}

func TestStrangersGetNoByteAndReachNothing(t *testing.T) {
	t.Parallel()
	w, elsewhere := newWorld(t), newWorld(t)
	var calls atomic.Int32
	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		calls.Add(1)
		return answer(200, ""), nil
	})
	addr := s.at.Addrs[0].String()
	trust := w.caller.Client(w.callee.ID(), label, mesh.ALPN) // believes in the callee
	for name, attack := range map[string]func(net.Conn) (io.Reader, error){
		"plain text": func(c net.Conn) (io.Reader, error) {
			_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			return bytes.NewReader(nil), err
		},
		"no certificate": func(c net.Conn) (io.Reader, error) {
			cfg := trust.Clone()
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
			return tlsClient(c, cfg)
		},
		"another CA, the right name": func(c net.Conn) (io.Reader, error) {
			cfg := trust.Clone()
			cfg.GetClientCertificate = elsewhere.workload("caller", 0).Client(w.callee.ID(), label, mesh.ALPN).GetClientCertificate
			return tlsClient(c, cfg)
		},
		"another protocol": func(c net.Conn) (io.Reader, error) {
			return tlsClient(c, w.caller.Client(w.callee.ID(), label, "h2"))
		},
		"no protocol": func(c net.Conn) (io.Reader, error) {
			return tlsClient(c, w.caller.Client(w.callee.ID(), label))
		},
		"another label": func(c net.Conn) (io.Reader, error) {
			return tlsClient(c, w.caller.Client(w.callee.ID(), "guess", mesh.ALPN))
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(patience))
			r, err := attack(conn)
			if err != nil {
				return // not even a handshake
			}
			if got, _ := io.ReadAll(r); len(got) > 0 {
				t.Errorf("got %d bytes: %q", len(got), got)
			}
		})
	}
	if n := calls.Load() + int32(s.Inflight()); n != 0 {
		t.Errorf("%d calls reached the handler", n)
	}
	w.roundTrip(w.transport(), s.at, get())
}

func tlsClient(c net.Conn, cfg *tls.Config) (io.Reader, error) {
	conn := tls.Client(c, cfg)
	if _, err := conn.Write(append(frame(2, 0, hello), frame(16|theEnd, 1, head("GET", "/"))...)); err != nil {
		return nil, err
	}
	return conn, nil
}

func TestACallerOfAnotherCAIsToldWhyAndHasNotReached(t *testing.T) {
	t.Parallel()
	w, elsewhere := newWorld(t), newWorld(t)
	s := w.serve(echo)
	body := &countingBody{Body: invoke.BytesBody([]byte("secret"))}
	c := call("")
	c.Body = body
	e := w.fails(w.transportAs(elsewhere.caller, nil), s.at, c)
	wants(t, e, apperr.PeerNotTrusted, apperr.ReachedNo, "callee is not who it should be")
	if body.reads.Load() != 0 {
		t.Error("the body was read for a peer that is not trusted")
	}
}

func TestHandshakesInProgressAreBounded(t *testing.T) {
	t.Parallel()
	bubble(t, echo, func(w *world, p *pipeNet, tr *mesh.Transport, _ *mesh.Server, at discovery.Endpoint) {
		var closed atomic.Int32
		var idle []net.Conn
		for range 100 {
			c, err := p.dial(w.t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			idle = append(idle, c)
			go func() {
				_, _ = c.Read(make([]byte, 1))
				closed.Add(1)
			}()
		}
		synctest.Wait()
		if n := closed.Load(); n != 36 {
			t.Errorf("%d of 100 are closed at once, want those above the limit, 36", n)
		}
		for _, c := range idle {
			_ = c.Close()
		}
		synctest.Wait()
		w.roundTrip(tr, at, get())
	})
}

// A peer that does not keep the protocol is cut off with the reason.
func TestAViolationCutsTheLinkOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	open := frame(16, 1, head("POST", "/"))
	big := string(make([]byte, 16<<10))
	for name, tt := range map[string]struct {
		send []byte
		says string
	}{
		"a call before the hello":        {frame(16|theEnd, 1, head("GET", "/")), "before the hello"},
		"a hello of another revision":    {frame(2, 0, "pillion\x09\x09"), "revision 9"},
		"garbage as hello":               {frame(2, 0, "hello"), "hello"},
		"a head that is cut":             {join(frame(2, 0, hello), frame(16, 1, head("GET", "/")[:9])), "too early"},
		"more fields than bytes":         {join(frame(2, 0, hello), frame(16, 1, strings.TrimSuffix(head("GET", "/"), "\x00")+"\xff\xff\x03")), "too early"},
		"a frame that is too large":      {join(frame(2, 0, hello), []byte{0xff, 0xff, 0xff, 16, 0, 0, 0, 1}), "16777215 bytes"},
		"a data frame that is too large": {join(frame(2, 0, hello), open, frame(22, 1, big+"x")), "16385 bytes"},
		"a call number used twice":       {join(frame(2, 0, hello), open, open), "behind call 1"},
		"data of no call":                {join(frame(2, 0, hello), frame(22, 7, "x")), "has not begun"},
		"data behind the end":            {join(frame(2, 0, hello), open, frame(22|theEnd, 1, "x"), frame(22, 1, "y")), "behind the end"},
		"an end behind the end":          {join(frame(2, 0, hello), open, frame(22|theEnd, 1, "x"), frame(23, 1, "\x00")), "ends twice"},
		"more than the call's window":    {join(frame(2, 0, hello), open, bytes.Repeat(frame(22, 1, big), 17)), "call's window"},
		"more given back than was sent":  {join(frame(2, 0, hello), frame(5, 0, "\x05")), "given back"},
		"far more calls than agreed":     {join(frame(2, 0, hello), manyCalls(2001)), "2001 open calls where 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := w.dialRaw(t, s.at.Addrs[0].String())
			go func() { _, _ = p.Write(tt.send) }()
			for {
				kind, _, payload, err := p.next()
				if err != nil {
					t.Fatalf("no reason given: %v", err)
				}
				if kind != 8 {
					continue
				}
				if !strings.Contains(payload, tt.says) {
					t.Errorf("cut off because %q, want it to say %q", payload, tt.says)
				}
				break
			}
			if _, _, _, err := p.next(); err == nil {
				t.Error("the link goes on")
			}
		})
	}
	t.Cleanup(func() { until(t, "no call is open", func() bool { return s.Inflight() == 0 }) })
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func manyCalls(n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, frame(16|theEnd, uint32(i+1), head("GET", "/"))...)
	}
	return b
}

// A head that decodes but would break the app's HTTP/1.1 ends its call only.
func TestAHeadThatSmugglesIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var paths atomic.Value
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		paths.Store(c.Path)
		return answer(200, ""), nil
	})
	p := w.dialRaw(t, s.at.Addrs[0].String())
	bad := []string{
		head("GET ", "/"), head("GET", "x"), head("GET", "/ HTTP/1.1\r\nEvil: 1"), head("GET", "/a b"), head("", "/"), head("GET", ""),
		strings.TrimSuffix(head("GET", "/"), "\x00") + "\x01" + str("Na me") + str("v"),
		strings.TrimSuffix(head("GET", "/"), "\x00") + "\x01" + str("Name") + str("v\r\nEvil: 1"),
		strings.TrimSuffix(head("GET", "/"), "\x00") + "\x01" + str("") + str("v"),
	}
	_, _ = p.Write(frame(2, 0, hello))
	for i, h := range bad {
		_, _ = p.Write(frame(16|theEnd, uint32(i+1), h))
		kind, call, payload, err := p.next()
		if kind != 19 || call != uint32(i+1) || !strings.Contains(payload, "PROTOCOL_ERROR") || err != nil {
			t.Errorf("head %q: kind %d of call %d, %q, %v", h, kind, call, payload, err)
		}
	}
	_, _ = p.Write(frame(16|theEnd, 99, head("GET", "/fine")))
	if kind, call, _, err := p.next(); kind != 21|theEnd || call != 99 || err != nil {
		t.Errorf("a good call after them: kind %d of call %d, %v", kind, call, err)
	}
	if got := paths.Load(); got != "/fine" {
		t.Errorf("the handler got %q", got)
	}
}

// Frames and entries of later revisions are skipped.
func TestWhatIsNotKnownIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	p := w.dialRaw(t, s.at.Addrs[0].String())
	_, _ = p.Write(join(
		frame(2, 0, hello+"\x63"+str("new")),
		frame(99, 1, "new"),
		frame(16|theEnd, 1, head("GET", "/")+"new"),
		frame(3, 0, "are you there"),
	))
	seen := map[byte]string{}
	for len(seen) < 2 { // the answer, whole, and the pong
		kind, _, payload, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		seen[kind] = payload
	}
	if _, ok := seen[21|theEnd]; !ok || seen[4] != "are you there" {
		t.Errorf("answered with %v", seen)
	}
}

func TestAPeerOfAnotherRevisionIsNamedWithBothVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tt := range map[string]struct {
		first []byte
		says  []string
	}{
		"newer":   {frame(1, 0, "pillion\x07\x09\x03"+str("9.9.9")), []string{"revisions 7 to 9 (pillion 9.9.9)", "this side 2 to 2", "run the same version"}},
		"garbage": {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), []string{"broke the protocol"}},
		"aborted": {frame(8, 0, "no room"), []string{"no room"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := w.raw(t, func(c net.Conn) {
				s := tls.Server(c, tlsServer(w.callee))
				_, _ = s.Write(tt.first)
				_, _ = io.Copy(io.Discard, s)
			})
			wants(t, w.fails(w.transport(), at, call("x")), apperr.ProtocolError, apperr.ReachedNo, tt.says...)
		})
	}
}

// What a server may do to a caller.
func TestAServerThatBreaksTheProtocolEndsItsCallsWithTheReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok := "\xc8\x01\x01\x00\x00" // 200
	for name, tt := range map[string]struct {
		reply   []byte
		reason  apperr.Reason
		reached apperr.Reached
		says    string
	}{
		"two heads":                {join(frame(21, 1, ok), frame(21, 1, ok)), "", 0, ""},
		"a head that is cut":       {frame(21, 1, "\xc8"), apperr.ProtocolError, apperr.ReachedMaybe, "broke the protocol"},
		"a status that is none":    {frame(21, 1, "\x07\x01\x00\x00"), apperr.ProtocolError, apperr.ReachedMaybe, "status 7"},
		"an answer to no call":     {frame(21, 9, ok), apperr.ProtocolError, apperr.ReachedMaybe, "has not begun"},
		"a field that smuggles":    {frame(21, 1, "\xc8\x01\x01\x00\x01"+str("A")+str("b\r\nC: d")), apperr.ProtocolError, apperr.ReachedMaybe, "cannot be passed on"},
		"an error that is no JSON": {frame(19, 1, "no!"), apperr.ProtocolError, apperr.ReachedNo, "cannot be read"},
		"a reset that says no":     {frame(25, 1, `{"reason":"REFUSED","what":"x","reached":"no"}`), apperr.Refused, apperr.ReachedMaybe, "x"},
		"a refusal without word":   {frame(19, 1, `{}`), apperr.Internal, apperr.ReachedNo, ""},
		"leaving below the call":   {frame(6, 0, "\x00"), apperr.Refused, apperr.ReachedNo, "takes no new calls"},
		"abort":                    {frame(8, 0, "I \x07 like it not"), apperr.PeerGone, apperr.ReachedMaybe, `I \a like it not`},
		"only an end":              {frame(22|theEnd, 1, ""), apperr.ProtocolError, apperr.ReachedMaybe, "without a head"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := w.raw(t, func(c net.Conn) {
				s := tls.Server(c, tlsServer(w.callee))
				_, _ = s.Write(frame(1, 0, hello))
				p := &rawPeer{t, s, bufio.NewReader(s)}
				for kind := byte(0); kind&^theEnd != 16; {
					var err error
					if kind, _, _, err = p.next(); err != nil {
						return
					}
				}
				_, _ = s.Write(tt.reply)
				_, _ = io.Copy(io.Discard, s)
			})
			a, err := w.transport().Send(t.Context(), at, w.callee.ID(), get())
			if tt.reason == "" {
				if err == nil {
					_, err = io.ReadAll(a.Body)
				}
				if err == nil {
					t.Error("nothing is said")
				}
				return
			}
			if err == nil {
				t.Fatalf("Send = %d", a.Status)
			}
			wants(t, apperr.From(err), tt.reason, tt.reached, tt.says)
		})
	}
}

// A server may take fewer calls on a link than it could. Above what all links
// together take, calls wait.
func TestCallsWaitWhenAllLinksAreFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var seen atomic.Int32
	release := make(chan struct{})
	at := w.raw(t, func(c net.Conn) {
		s := tls.Server(c, tlsServer(w.callee))
		_, _ = s.Write(frame(1, 0, hello+"\x04"+str("\x01"))) // one call at a time
		p := &rawPeer{t, s, bufio.NewReader(s)}
		for {
			kind, call, _, err := p.next()
			if err != nil {
				return
			}
			if kind&^theEnd == 16 {
				seen.Add(1)
				go func() {
					<-release
					_, _ = s.Write(frame(21|theEnd, call, "\xc8\x01\x01\x00\x00"))
				}()
			}
		}
	})
	tr := w.transport()
	const calls, links = 11, 8
	errs := make(chan error, calls)
	for range calls {
		go func() {
			a, err := tr.Send(t.Context(), at, w.callee.ID(), get())
			if err == nil {
				_, err = io.ReadAll(a.Body)
			}
			errs <- err
		}()
	}
	until(t, "the links are full", func() bool { return seen.Load() == links })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := tr.Send(ctx, at, w.callee.ID(), get())
	wants(t, apperr.From(err), apperr.DeadlineExceeded, apperr.ReachedNo)
	if n := seen.Load(); n != links {
		t.Errorf("%d calls on %d links", n, links)
	}
	close(release)
	for range calls {
		if err := within(t, "the calls", errs); err != nil {
			t.Error(err)
		}
	}
}

func FuzzServer(f *testing.F) {
	w := newWorld(f)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) { return echo(nil, c) }) //nolint:staticcheck // echo uses none
	f.Add(join(frame(2, 0, hello), frame(16, 1, head("POST", "/")), frame(22|theEnd, 1, "body")))
	f.Add(join(frame(2, 0, hello), frame(16, 1, head("POST", "/")), frame(25, 1, `{}`)))
	f.Add(join(frame(2, 0, hello), manyCalls(3), frame(5, 0, "\x05"), frame(3, 0, "")))
	tr := w.transport()
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn, err := tls.Dial("tcp", s.at.Addrs[0].String(), w.caller.Client(w.callee.ID(), label, mesh.ALPN))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(sent)
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("a link that has been closed goes on: %v", err)
		}
		_ = conn.Close()
		a, err := tr.Send(t.Context(), s.at, w.callee.ID(), call("still there"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(a.Body); string(got) != "still there" || err != nil {
			t.Errorf("an honest call gets %q, %v", got, err)
		}
		_ = a.Body.Close()
	})
}
