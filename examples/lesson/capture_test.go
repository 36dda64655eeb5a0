package lesson_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// What crosses between the two sidecars is recorded, byte for byte, by a relay
// that stands between them. It may know that somebody talks; of the call, its
// answer, its method and its caller it must not see anything.
func TestNothingOfACallIsReadableBetweenTheSidecars(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(service{app: notify, in: inGo})
	addresses := w.instance(notify).MeshAddresses
	if len(addresses) == 0 {
		t.Fatal("pillion list has no mesh address")
	}
	tap := newRelay(t, addresses[0])
	w.run(service{app: todo, in: inGo, flags: []string{
		"--app-port", "auto", "--discovery", "static", "--peer", notify + "=" + tap.addr,
	}})

	const secret = "Buy groceries, and nobody else may know"
	before := tap.recorded()
	message := strings.Repeat(secret+". ", 500)
	got := w.door().post("/v1.0/invoke/notification-service/method/notify", `{"message":"`+message+`"}`, "x-secret-field", secret)
	if got.status != 200 || !strings.Contains(got.body, secret) {
		t.Fatalf("answered %.200v", got)
	}
	w.logged(notify, "Notification received: "+secret)

	seen := tap.recorded()
	if len(seen)-len(before) < 2*len(message) {
		t.Fatalf("the relay saw %d bytes: the call and its answer, %d each, went another way", len(seen)-len(before), len(message))
	}
	for _, word := range []string{secret, "groceries", "Notification", "delivered", "/notify", "notify", "x-secret-field", "application/json", todo, notify, "spiffe"} {
		if bytes.Contains(bytes.ToLower(seen), []byte(strings.ToLower(word))) {
			t.Errorf("%q crossed between the sidecars in clear text", word)
		}
	}
}

// A relay passes connections on and keeps what crosses, in both directions.
type relay struct {
	addr   string
	target string

	mu    sync.Mutex // guards what follows
	bytes bytes.Buffer
	open  []net.Conn
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: ln.Addr().String(), target: target}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { r.pass(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // ends the accepting
		r.mu.Lock()
		for _, c := range r.open {
			_ = c.Close() // ends its copying
		}
		r.mu.Unlock()
		tasks.Wait()
	})
	return r
}

// pass copies both ways until one side has nothing more to say.
func (r *relay) pass(from net.Conn) {
	defer func() { _ = from.Close() }() // copied to its end
	to, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }() // copied to its end
	r.mu.Lock()
	r.open = append(r.open, from, to)
	r.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, io.TeeReader(to, r)) // its end is all there is to know
		_ = from.Close()
	})
	_, _ = io.Copy(to, io.TeeReader(from, r)) // its end is all there is to know
	_ = to.Close()
	back.Wait()
}

func (r *relay) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes.Write(p)
}

func (r *relay) recorded() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.bytes.Bytes())
}
