package app_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// numbers is a stream of lines whose place can be told from their content.
type numbers struct {
	left int64
	n    int
	rest string
	sum  hash.Hash
}

func newNumbers(size int64) *numbers { return &numbers{left: size, sum: sha256.New()} }

func (s *numbers) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && s.left > 0 {
		if s.rest == "" {
			s.n++
			s.rest = fmt.Sprintf("%07d%s\n", s.n, strings.Repeat("x", s.n%97))
		}
		c := copy(p[n:min(int64(len(p)), int64(n)+s.left)], s.rest)
		s.rest = s.rest[c:]
		n += c
		s.left -= int64(c)
	}
	s.sum.Write(p[:n])
	return n, nil
}

// Large bodies arrive as they left, in both directions, however they are
// framed and read.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	const size = 600_123
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		w.Header().Set("X-Got", fmt.Sprintf("%d %x %v", n, sum.Sum(nil), err))
		body := newNumbers(size)
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		buf := make([]byte, len(r.URL.RawQuery)*997)
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, body, buf)
	}))
	a, _ := runApp(t, app.Config{Port: port})
	want := newNumbers(size)
	_, _ = io.Copy(io.Discard, want)
	wanted := fmt.Sprintf("%d %x %v", size, want.sum.Sum(nil), error(nil))
	for _, path := range []string{"/length?a", "/length?" + strings.Repeat("a", 100), "/chunks?a", "/chunks?" + strings.Repeat("a", 100)} {
		for _, room := range []int{1000, 32 << 10, 256 << 10} {
			length := int64(-1)
			if strings.HasPrefix(path, "/length") {
				length = size
			}
			c := &invoke.Call{Verb: "POST", Path: path, Only: true, Length: length, Body: invoke.NewBody(io.NopCloser(newNumbers(size)), nil)}
			ans, err := a.Serve(within.Context(t), c)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.New()
			n, err := io.CopyBuffer(sum, struct{ io.Reader }{ans.Body}, make([]byte, room))
			_ = ans.Body.Close()
			if got := fmt.Sprintf("%d %x %v", n, sum.Sum(nil), err); got != wanted || ans.Length != length {
				t.Errorf("%.20s by %d: got %s, length %d, want %s", path, room, got, ans.Length, wanted)
			}
			if got := ans.Fields.Get("X-Got"); got != wanted {
				t.Errorf("%.20s: the app got %s, want %s", path, got, wanted)
			}
		}
	}
}

// Somebody who does not read is waited for, in either direction: what is in
// flight is bounded by the sockets.
func TestSlowReadersAreWaitedFor(t *testing.T) {
	t.Parallel()
	const bound = 64 << 20
	var written atomic.Int64
	resume, read := make(chan struct{}), make(chan struct{})
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\n") == "" {
			return
		}
		<-resume // reads nothing of the body meanwhile
		body := httputil.NewChunkedReader(c)
		_, _ = io.Copy(io.Discard, body)
		close(read)
	})
	a, _ := runApp(t, app.Config{Port: port})
	body := invoke.NewBody(io.NopCloser(readerFunc(func(p []byte) (int, error) {
		if written.Load() >= 2*bound {
			return 0, io.EOF
		}
		written.Add(int64(len(p)))
		return len(p), nil
	})), nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if ans, err := a.Serve(within.Context(t), &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: -1}); err == nil {
			_ = ans.Body.Close()
		}
	}()
	steady(t, &written)
	if n := written.Load(); n > bound {
		t.Errorf("%d bytes were taken from the sender while the app read nothing", n)
	}
	close(resume)
	within.Receive(t, read)
	within.Receive(t, done)
}

// steady waits until n has moved and moves no more.
func steady(t *testing.T, n *atomic.Int64) {
	t.Helper()
	last, same := int64(-1), 0
	within.Until(t, "the sender to wait", func() bool {
		now := n.Load()
		if now == last && now > 0 {
			same++
		} else {
			same = 0
		}
		last = now
		return same > 50
	})
}
