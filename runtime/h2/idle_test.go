package h2_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestAnIdleConnectionIsSmall(t *testing.T) { //nolint:paralleltest // measures memory
	if raceEnabled {
		t.Skip("the race detector takes memory")
	}
	const conns, limit = 200, 20 << 10
	body := []byte(long(100 << 10))
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		_, _ = io.Copy(io.Discard, s.Body())
		_ = s.Answer(&invoke.Answer{Status: 200, Length: -1, Body: invoke.BytesBody(body[:60<<10])}, nil)
	})
	read := func() uint64 {
		runtime.GC()
		runtime.GC() // what pools hold is given up in two steps
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	var clients []*h2.Client
	before := read()
	for range conns {
		cl := dial(t, st.addr)
		a, err := roundTrip(t.Context(), cl, post(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, a); len(got) != 60<<10 {
			t.Fatalf("%d bytes", len(got))
		}
		clients = append(clients, cl)
	}
	// Both ends are in this process.
	each := (int64(read()) - int64(before)) / (2 * conns)
	t.Logf("an idle connection takes %d bytes", each)
	if each > limit {
		t.Errorf("more than %d", limit)
	}
	runtime.KeepAlive(clients)
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	nc, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	cl := client(t, nc)
	a, err := roundTrip(t.Context(), cl, post(long(1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, a); len(got) != 1<<20 {
		t.Errorf("%d bytes", len(got))
	}

	// And our own server.
	near, far := net.Pipe()
	sc := (&h2.Server{Handler: echo}).NewConn(tls.Server(far, srv.TLS))
	done := make(chan struct{})
	go func() { defer close(done); sc.Serve() }()
	cl = client(t, tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS13}))
	if a, err = roundTrip(t.Context(), cl, post(long(1<<20))); err != nil {
		t.Fatal(err)
	}
	if got := text(t, a); len(got) != 1<<20 {
		t.Errorf("%d bytes", len(got))
	}
	cl.Close()
	within.Receive(t, done)
}
