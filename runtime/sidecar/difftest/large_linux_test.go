package difftest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// mostGrowth is what a body of any size may cost a sidecar, in KiB.
const mostGrowth = 20 << 10

// largeSize is 256 MiB, or 5 GiB if PILLION_LONG is set.
func largeSize() int64 {
	if os.Getenv("PILLION_LONG") != "" {
		return 5 << 30
	}
	return 256 << 20
}

// A pattern is bytes that say where in the stream they are.
type pattern struct{ at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte((p.at + int64(i)) * 2654435761 >> 13)
	}
	p.at += int64(len(b))
	return len(b), nil
}

// check reads r to its end and compares with the pattern.
func check(r io.Reader) (int64, error) {
	var want pattern
	got, expected := make([]byte, 64<<10), make([]byte, 64<<10)
	var total int64
	for {
		n, err := r.Read(got)
		_, _ = want.Read(expected[:n]) // it does not fail
		if string(got[:n]) != string(expected[:n]) {
			return total, fmt.Errorf("other bytes within the %d behind %d", n, total)
		}
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// transfers is an app that takes a pattern and gives one.
func transfers(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		n, err := check(r.Body)
		_, _ = fmt.Fprintf(w, "%d %v", n, err)
		return
	}
	size, _ := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if r.URL.Query().Get("known") != "" {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	_, _ = io.CopyN(w, &pattern{}, size)
}

// serveHTTP serves an app of the standard library until the test ends, over
// HTTP/1.1 and HTTP/2 in clear text.
func serveHTTP(t *testing.T, ln net.Listener, h http.HandlerFunc) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: patience, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln) // it ends when it is closed
	}()
	t.Cleanup(func() {
		_ = srv.Close() // whatever is left
		<-served
	})
}

func TestALargeBodyCostsASidecarNoMemory(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			ln := listen(t)
			serveHTTP(t, ln, transfers)
			p := newProcessPair(t, protocol, ln)
			size := largeSize()
			// What a small one costs is no growth.
			p.upload(protocol, 8<<20, true)
			p.download(protocol, 8<<20, true)
			for _, known := range []bool{true, false} {
				p.growth(fmt.Sprintf("%d MiB up, length known: %t", size>>20, known), func() { p.upload(protocol, size, known) })
				p.growth(fmt.Sprintf("%d MiB down, length known: %t", size>>20, known), func() { p.download(protocol, size, known) })
			}
		})
	}
}

// growth runs f and checks how much larger the sidecars were meanwhile.
func (p *processPair) growth(what string, f func()) {
	p.t.Helper()
	before := map[*process]int64{}
	for _, s := range p.both() {
		s.forgetPeak()
		before[s] = s.status("VmRSS")
	}
	began := time.Now()
	f()
	took := time.Since(began)
	for _, s := range p.both() {
		grown := s.status("VmHWM") - before[s]
		p.t.Logf("%s: %s grew by %.1f MiB, from %.1f MiB (%s)", what, s.app, float64(grown)/1024, float64(before[s])/1024, took.Round(time.Millisecond))
		if grown > mostGrowth {
			p.t.Errorf("%s: %s grew by %d KiB, want at most %d", what, s.app, grown, mostGrowth)
		}
	}
}

// request makes a request with the standard library's client, over the version
// of HTTP that suits the app.
func (p *processPair) request(protocol, method, path string, body io.Reader, length int64) *http.Response {
	p.t.Helper()
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(protocol == "http")
	transport.Protocols.SetUnencryptedHTTP2(protocol != "http")
	p.t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.caller.http+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("dapr-app-id", callee)
	r.ContentLength = length
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

func (p *processPair) upload(protocol string, size int64, known bool) {
	p.t.Helper()
	length := int64(-1)
	if known {
		length = size
	}
	answer := p.request(protocol, "POST", "/", io.LimitReader(&pattern{}, size), length)
	defer func() { _ = answer.Body.Close() }()
	got, err := io.ReadAll(answer.Body)
	if want := fmt.Sprintf("%d <nil>", size); string(got) != want || err != nil {
		p.t.Errorf("the app got %q (%v), want %q", got, err, want)
	}
}

func (p *processPair) download(protocol string, size int64, known bool) {
	p.t.Helper()
	path := "/?size=" + strconv.FormatInt(size, 10)
	if known {
		path += "&known=1"
	}
	answer := p.request(protocol, "GET", path, nil, 0)
	defer func() { _ = answer.Body.Close() }()
	if n, err := check(answer.Body); n != size || err != nil {
		p.t.Errorf("the client got %d bytes (%v), want %d", n, err, size)
	}
}

// A side that does not read is waited for: the other one's bytes stay where
// they are, and no sidecar keeps them.
func TestASlowReaderIsWaitedFor(t *testing.T) {
	const (
		size = 64 << 20
		// Sockets and windows on the way hold some; the kernel's own buffers
		// are the larger part.
		most = 32 << 20
		// stuck is how long nothing can be written before a writer is taken to
		// be held up.
		stuck = 500 * time.Millisecond
	)
	var sent atomic.Int64
	blocked, read := make(chan struct{}, 1), make(chan struct{})
	ln := listen(t)
	serveConns(t, ln, func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if r.Method == http.MethodGet {
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
				sent.Store(0)
				err = writeSlowly(c, size, stuck, &sent, blocked)
			} else {
				<-read
				var n int64
				n, err = check(r.Body)
				got := strconv.FormatInt(n, 10)
				_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(got), got)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	p := newProcessPair(t, "http", ln)
	t.Run("client", func(t *testing.T) {
		c, err := net.Dial("tcp", p.caller.http)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		p.growth("the client does not read", func() {
			_, _ = io.WriteString(c, "GET /down HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\n\r\n")
			<-blocked
		})
		if n := sent.Load(); n > most {
			t.Errorf("the app could write %d bytes to a client that reads nothing", n)
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := check(answer.Body); n != size || err != nil {
			t.Errorf("the client got %d bytes (%v)", n, err)
		}
	})
	t.Run("app", func(t *testing.T) {
		c, err := net.Dial("tcp", p.caller.http)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		ended := make(chan error, 1)
		p.growth("the app does not read", func() {
			sent.Store(0)
			_, _ = fmt.Fprintf(c, "POST /up HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\nContent-Length: %d\r\n\r\n", size)
			go func() { ended <- writeSlowly(c, size, stuck, &sent, blocked) }()
			<-blocked
		})
		if n := sent.Load(); n > most {
			t.Errorf("the client could write %d bytes to an app that reads nothing", n)
		}
		close(read)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(answer.Body); string(got) != strconv.Itoa(size) || err != nil {
			t.Errorf("the app got %s bytes (%v)", got, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// writeSlowly writes a pattern, and tells once when it is held up for a while.
func writeSlowly(c net.Conn, size int64, stuck time.Duration, sent *atomic.Int64, blocked chan<- struct{}) error {
	var from pattern
	buf := make([]byte, 64<<10)
	told := false
	for total := int64(0); total < size; {
		n := min(int64(len(buf)), size-total)
		_, _ = from.Read(buf[:n]) // it does not fail
		for done := int64(0); done < n; {
			deadline := time.Now().Add(stuck)
			if told {
				deadline = time.Now().Add(patience)
			}
			if err := c.SetWriteDeadline(deadline); err != nil {
				return err
			}
			wrote, err := c.Write(buf[done:n])
			done += int64(wrote)
			sent.Add(int64(wrote))
			if errors.Is(err, os.ErrDeadlineExceeded) && !told {
				told = true
				blocked <- struct{}{}
				continue
			}
			if err != nil {
				return err
			}
		}
		total += n
	}
	if !told {
		blocked <- struct{}{}
	}
	return nil
}
