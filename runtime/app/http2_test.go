package app_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// engines runs a test with our own HTTP/2 and with the Go library's.
func engines(t *testing.T, test func(t *testing.T, standard bool)) {
	t.Helper()
	t.Parallel()
	for name, standard := range map[string]bool{"fast": false, "standard": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, standard)
		})
	}
}

// serveH2C serves HTTP/2 by prior knowledge.
func serveH2C(t testing.TB, h http.Handler) uint16 {
	t.Helper()
	ln := listen(t)
	srv := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); within.Receive(t, done) })
	return portOf(ln)
}

func echoStream(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.Header().Set("Trailer", "X-Echo")
	_ = control.Flush()
	buf := make([]byte, 100)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			_, _ = w.Write(buf[:n])
			_ = control.Flush()
		}
		if err != nil {
			break
		}
	}
	w.Header().Set("X-Echo", r.Trailer.Get("X-Sent"))
}

func TestHTTP2CallKeepsItsPath(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		got := make(chan *http.Request, 1)
		port := serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
			got <- r
		}))
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "h2c", Token: "secret"})
		for _, path := range []string{"/a%2Fb/../c?x=%20", "//double", "/", "/?", "/a?b?c#d"} {
			c := post(path, "hello")
			c.Fields = fields("Content-Type", "application/grpc", "X-One", "1", "X-One", "2", "Pillion-X", "no")
			ans, body := do(t, a, c)
			in := within.Receive(t, got)
			if ans.Status != 200 || ans.Major != 2 || body != "hello" || in.RequestURI != path {
				t.Errorf("answer = %d over HTTP/%d %q for %q, want %q", ans.Status, ans.Major, body, in.RequestURI, path)
			}
			if in.Header.Get("Te") != "trailers" || in.Header.Get("Dapr-Api-Token") != "secret" || in.Header.Get("Pillion-X") != "" ||
				len(in.Header["X-One"]) != 2 || in.Header.Get("User-Agent") != "" || in.Header.Get("Accept-Encoding") != "" || in.ContentLength != 5 {
				t.Errorf("the app saw %v, length %d", in.Header, in.ContentLength)
			}
		}
	})
}

// frames is an HTTP/2 server in the test's hands: f gets each request stream.
func frames(t *testing.T, f func(fr *http2.Framer, conn int, stream uint32) bool) uint16 {
	t.Helper()
	var conns atomic.Int32
	return raw(t, func(c net.Conn) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, preface); err != nil {
			return
		}
		n := int(conns.Add(1))
		fr := http2.NewFramer(c, c)
		_ = fr.WriteSettings()
		for {
			frame, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = fr.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				if !f(fr, n, frame.StreamID) {
					return
				}
			}
		}
	})
}

// okHeaders is ":status: 200" in HPACK.
var okHeaders = []byte{0x88}

func answerOK(fr *http2.Framer, stream uint32) bool {
	return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: okHeaders, EndHeaders: true, EndStream: true}) == nil
}

// The app's own proof that it did not process a stream is passed on, and the
// library does not try again by itself.
func TestHTTP2RefusedStreamIsProvenNotReached(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		var streams atomic.Int32
		port := frames(t, func(fr *http2.Framer, _ int, stream uint32) bool {
			streams.Add(1)
			return fr.WriteRSTStream(stream, http2.ErrCodeRefusedStream) == nil
		})
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "h2c"})
		for _, c := range []*invoke.Call{post("/", "x"), get("/")} {
			streams.Store(0)
			e := failed(t, a, c)
			if e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo || e.At() != apperr.HopApp || streams.Load() != 1 {
				t.Errorf("%s: error = %s, %s, reached %s, after %d streams", c.Verb, e.Reason, e.Message(), e.Reached, streams.Load())
			}
		}
	})
}

func TestHTTP2OtherResetMayHaveReached(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		for _, code := range []http2.ErrCode{http2.ErrCodeInternal, http2.ErrCodeProtocol, http2.ErrCodeCancel} {
			var streams atomic.Int32
			port := frames(t, func(fr *http2.Framer, _ int, stream uint32) bool {
				streams.Add(1)
				return fr.WriteRSTStream(stream, code) == nil
			})
			a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "h2c"})
			e := failed(t, a, get("/"))
			if e.Reason != apperr.AppGone || e.Reached != apperr.ReachedMaybe || streams.Load() != 1 {
				t.Errorf("%v: error = %s, reached %s, after %d streams", code, e.Reason, e.Reached, streams.Load())
			}
		}
	})
}

// An app that closes its connection gracefully does not fail the call: the
// stream it did not take goes to a new connection.
func TestHTTP2GoAwayMovesTheCall(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		port := frames(t, func(fr *http2.Framer, conn int, stream uint32) bool {
			if conn == 1 && stream > 1 {
				return fr.WriteGoAway(1, http2.ErrCodeNo, nil) == nil
			}
			return answerOK(fr, stream)
		})
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "h2c"})
		for range 3 {
			if ans, _ := do(t, a, get("/")); ans.Status != 200 {
				t.Errorf("status = %d", ans.Status)
			}
		}
	})
}

// The words by which the library's proofs are known: if they change, calls
// count as possibly seen.
func TestHTTP2GoAwayForEverIsProvenNotReached(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		var streams atomic.Int32
		port := frames(t, func(fr *http2.Framer, _ int, _ uint32) bool {
			streams.Add(1)
			return fr.WriteGoAway(0, http2.ErrCodeNo, nil) == nil
		})
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "h2c"})
		e := failed(t, a, get("/"))
		if e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo {
			t.Errorf("error = %s, %s, reached %s", e.Reason, e.Message(), e.Reached)
		}
		if n := streams.Load(); n > 3 {
			t.Errorf("%d streams for one call", n)
		}
	})
}

func TestHTTP2ConnectionThatBreaks(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		port := frames(t, func(*http2.Framer, int, uint32) bool { return false })
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "h2c"})
		if e := failed(t, a, post("/", "x")); e.Reason != apperr.AppGone || e.Reached != apperr.ReachedMaybe {
			t.Errorf("error = %s, reached %s", e.Reason, e.Reached)
		}
	})
}

// A gRPC answer is a head, messages, and a status in the trailers; with
// trailers only it has no body at all.
func TestGRPCTrailers(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		port := serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/grpc")
			if r.URL.Path == "/only" {
				w.Header().Set("Grpc-Status", "5")
				return
			}
			_, _ = w.Write([]byte("message"))
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		}))
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "grpc"})
		ans, body := do(t, a, post("/svc/Method", "in"))
		if body != "message" || ans.Body.Trailers().Get("grpc-status") != "0" {
			t.Errorf("body %q, trailers %v", body, ans.Body.Trailers())
		}
		ans, body = do(t, a, post("/only", "in"))
		if body != "" || ans.Fields.Get("grpc-status") != "5" {
			t.Errorf("body %q, fields %v", body, ans.Fields)
		}
	})
}

func TestHTTP2ManyStreams(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		port := serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
		a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "h2c"})
		var all sync.WaitGroup
		for n := range 400 {
			all.Go(func() {
				want := strings.Repeat(itoa(uint16(n)), 1000)
				if _, body := do(t, a, post("/", want)); body != want {
					t.Errorf("call %d got another's answer", n)
				}
			})
		}
		all.Wait()
		within.Until(t, "all to end", func() bool { return a.Inflight() == 0 })
	})
}

func TestHTTPSToTheLoopbackIsNotVerified(t *testing.T) {
	engines(t, func(t *testing.T, standard bool) {
		for _, protocols := range [][]string{{"http/1.1"}, {"h2", "http/1.1"}} {
			port := serveTLS(t, protocols, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Proto)
			}))
			a, _ := runApp(t, app.Config{Port: port, Standard: standard, Protocol: "https"})
			for range 3 {
				want := "HTTP/1.1"
				if protocols[0] == "h2" {
					want = "HTTP/2.0"
				}
				if _, body := do(t, a, get("/")); body != want {
					t.Errorf("the app saw %s, want %s", body, want)
				}
			}
		}
	})
}
