package difftest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/within"
)

// atOnce is the time in which the other end has to learn that one has left.
// The promise is 100 ms, measured on a machine that has nothing else to do;
// the figures are logged, and a test only fails if nobody tells.
const atOnce = patience

// roleEnv makes the test binary a client that a test can kill.
const roleEnv = "DIFFTEST_CLIENT"

func TestMain(m *testing.M) {
	if door := os.Getenv(roleEnv); door != "" {
		if err := holdOn(door); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	http.DefaultClient.Timeout = patience // no test waits for longer
	code := m.Run()
	removeBuilt()
	os.Exit(code)
}

// A held is a request that an app has got and does not answer.
type held struct {
	path string
	id   string // behind the path
	conn net.Conn
	// ended is closed when the other side has left.
	ended chan struct{}
}

// holdAll is an app that begins an answer to /down, and neither answers the
// others nor ends any; it tells of each.
func holdAll(t *testing.T, ln net.Listener, got chan<- held) {
	serveConns(t, ln, func(c net.Conn) {
		br := bufio.NewReader(c)
		start, _, err := readHead(br)
		if err != nil {
			return
		}
		h := held{conn: c, ended: make(chan struct{})}
		h.path, h.id, _ = strings.Cut(strings.Fields(start)[1], "?")
		defer close(h.ended)
		switch h.path {
		case "/down":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		case "/up-down":
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello")
		case "/tunnel":
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhello")
		}
		select {
		case got <- h:
		case <-t.Context().Done(): // nobody asks for it
		}
		_, _ = io.Copy(io.Discard, br) // until the other side leaves
	})
}

// heads are requests that stay open.
var heads = []string{
	"GET /wait HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\n\r\n",
	"GET /down HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\n\r\n",
	"POST /up HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\nContent-Length: 1000000\r\n\r\nhello",
	"POST /up-down HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	"GET /tunnel HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhello",
}

// holdOn is the client that is killed: it opens a few of each and waits.
func holdOn(door string) error {
	for range 20 {
		for _, head := range heads {
			c, err := net.Dial("tcp", door)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			if _, err := io.WriteString(c, head); err != nil {
				return err
			}
		}
	}
	_, err := io.Copy(io.Discard, os.Stdin) // for ever
	return err
}

func TestWhoLeavesIsMissedAtTheOtherEnd(t *testing.T) {
	ln := listen(t)
	got := make(chan held)
	holdAll(t, ln, got)
	p := newProcessPair(t, "http", ln)
	opened := 0
	open := func(head string) (net.Conn, held) {
		t.Helper()
		opened++
		id := strconv.Itoa(opened)
		c, err := net.Dial("tcp", p.caller.http)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, strings.Replace(head, " HTTP/1.1\r\n", "?"+id+" HTTP/1.1\r\n", 1)); err != nil {
			t.Fatal(err)
		}
		for {
			// A GET whose app went away is sent again, until its client has gone.
			if h := within.Receive(t, got); h.id == id {
				return c, h
			}
		}
	}
	for _, head := range heads {
		path := strings.Fields(head)[1]
		for _, how := range []string{"closes", "resets"} {
			var took []time.Duration
			for range 20 {
				c, h := open(head)
				began := time.Now()
				if how == "closes" {
					_ = c.Close() // that is what is tested
				} else {
					resetConn(c)
				}
				await(t, h.ended, path+": the app does not miss a client that "+how)
				took = append(took, time.Since(began))
			}
			t.Logf("%s: a client that %s is missed by the app after %s", path, how, spread(took))
		}
		var took []time.Duration
		for range 20 {
			c, h := open(head)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, c) // an error of pillion's, or the end
			}()
			began := time.Now()
			resetConn(h.conn)
			if path == "/wait" || path == "/up" {
				_ = c.(*net.TCPConn).CloseWrite() // the connection would stay for another request
			}
			await(t, ended, path+": the client does not miss the app")
			took = append(took, time.Since(began))
		}
		t.Logf("%s: an app that resets is missed by the client after %s", path, spread(took))
	}
}

// The same for streams of HTTP/2, as gRPC clients and servers have them.
func TestAStreamThatEndsIsMissedAtTheOtherEnd(t *testing.T) {
	ln := listen(t)
	type heldStream struct {
		conn *conn2
		id   uint32
		gone chan struct{}
	}
	got := make(chan heldStream)
	serveConns(t, ln, func(c net.Conn) {
		streams := map[uint32]heldStream{}
		var x *conn2
		x = newConn2(c, false, func(e event) {
			switch s, known := streams[e.stream]; {
			case e.fields != nil && !known:
				s = heldStream{x, e.stream, make(chan struct{})}
				streams[e.stream] = s
				_ = x.headers(e.stream, []field{{":status", "200"}, {"content-type", "application/grpc"}}, false) // the test sees it
				got <- s
			case known && e.reset:
				close(s.gone)
			}
		})
		x.run()
	})
	p := newProcessPair(t, "grpc", ln)
	c, err := net.Dial("tcp", p.caller.http)
	if err != nil {
		t.Fatal(err)
	}
	answered, ended := make(chan struct{}, 100), make(chan struct{}, 100) // so that the reading is never held up
	x := newConn2(c, true, func(e event) {
		switch {
		case e.end || e.reset && e.code != http2.ErrCodeNo: // which may follow the end
			ended <- struct{}{}
		case e.fields != nil:
			answered <- struct{}{}
		}
	})
	if err := x.greet(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(x.run)
	t.Cleanup(reading.Wait)
	t.Cleanup(x.stop)
	next := uint32(1)
	open := func() (uint32, heldStream) {
		id := next
		next += 2
		x.open(id)
		_ = x.headers(id, []field{
			{":method", "POST"},
			{":scheme", "http"},
			{":path", "/test.Service/Method"},
			{":authority", "localhost"},
			{"content-type", "application/grpc"},
			{"te", "trailers"},
			{"dapr-app-id", callee},
		}, false) // that it was not sent is seen below
		var s heldStream
		select {
		case s = <-got:
		case <-time.After(atOnce):
			t.Fatalf("the app does not get stream %d", id)
		}
		await(t, answered, "the client gets no answer")
		return id, s
	}
	var clients, apps []time.Duration
	for range 20 {
		id, s := open()
		began := time.Now()
		_ = x.reset(id, http2.ErrCodeCancel) // that it was not sent is seen below
		await(t, s.gone, "the app does not miss a client that resets its stream")
		clients = append(clients, time.Since(began))
		_, s = open()
		began = time.Now()
		_ = s.conn.reset(s.id, http2.ErrCodeInternal) // that it was not sent is seen below
		await(t, ended, "the client does not miss an app that resets its stream")
		apps = append(apps, time.Since(began))
	}
	t.Logf("a client that resets its stream is missed by the app after %s", spread(clients))
	t.Logf("an app that resets its stream is missed by the client after %s", spread(apps))
}

func await(t *testing.T, ended <-chan struct{}, problem string) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(atOnce):
		t.Fatal(problem)
	}
}

func spread(took []time.Duration) string {
	slices.Sort(took)
	return fmt.Sprintf("%s, at most %s", took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
}

// A client that is killed takes nothing with it: after a round of requests of
// every kind all that it held is free again.
func TestAClientThatIsKilledFreesEverything(t *testing.T) {
	ln := listen(t)
	got := make(chan held, 1000)
	holdAll(t, ln, got)
	p := newProcessPair(t, "http", ln)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	round := func() {
		c := exec.CommandContext(t.Context(), self)
		c.Env = append(os.Environ(), roleEnv+"="+p.caller.http)
		c.Stderr = os.Stderr
		stdin, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stdin.Close() }()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		var all []held
		for range 20 * len(heads) {
			all = append(all, <-got)
		}
		began := time.Now()
		_ = c.Process.Kill() // that is what is tested
		var wait sync.WaitGroup
		for _, h := range all {
			wait.Go(func() { await(t, h.ended, h.path+" is still held") })
		}
		wait.Wait()
		t.Logf("the app has missed all %d after %s", len(all), time.Since(began).Round(10*time.Microsecond))
		_ = c.Wait() // it was killed
	}
	round() // what is made for the first calls stays: connections to the peer, pools
	type level struct{ descriptors, goroutines int }
	levels := func() map[string]level {
		all := map[string]level{}
		for _, s := range p.both() {
			all[s.app] = level{s.descriptors(), s.goroutines()}
		}
		return all
	}
	settled := func(most map[string]level) bool {
		for app, l := range levels() {
			if l.descriptors > most[app].descriptors || l.goroutines > most[app].goroutines {
				return false
			}
		}
		return true
	}
	// A hundred requests were open: what is left of them would show.
	most := map[string]level{"caller": {40, 60}, callee: {40, 60}}
	t.Cleanup(func() {
		for _, s := range p.both() {
			if t.Failed() {
				t.Logf("%s:\n%s", s.app, s.dump())
			}
		}
	})
	until(t, "everything of the first round free", func() bool { return settled(most) })
	before := levels()
	t.Logf("after one round: %v", before)
	for app, l := range before {
		most[app] = level{l.descriptors + 4, l.goroutines + 6}
	}
	for range 3 {
		round()
		until(t, "everything of a further round free", func() bool { return settled(most) })
	}
	t.Logf("after four rounds: %v", levels())
}
