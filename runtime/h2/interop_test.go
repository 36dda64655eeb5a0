package h2_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestNetHTTPsClientGetsWhatWasSent(t *testing.T) {
	t.Parallel()
	st, c := serve(t, echo), h2c(t)
	for _, size := range []int{0, 54, 10 << 10, 1 << 20} {
		body := long(size)
		res, err := c.Post("http://"+st.addr+"/a%2Fb//c?q=1", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(got) != body[:len(got)] || len(got) != len(body) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		if p := res.Header.Get("X-Path"); p != "/a%2Fb//c?q=1" {
			t.Errorf("path %q", p)
		}
	}
}

func TestOurClientAndNetHTTPsServerUnderstandEachOther(t *testing.T) {
	t.Parallel()
	addr := stdServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.RequestURI)
		_, _ = io.Copy(w, r.Body)
	})
	cl := dial(t, addr)
	for _, size := range []int{0, 54, 10 << 10, 1 << 20} {
		body := long(size)
		a, err := roundTrip(t.Context(), cl, post(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, a); got != body {
			t.Errorf("%d bytes: got %d", size, len(got))
		}
		if p := a.Fields.Get("x-path"); p != "/p" || a.Status != 200 {
			t.Errorf("%d %q", a.Status, p)
		}
	}
}

func TestAHundredStreamsDoNotMix(t *testing.T) {
	t.Parallel()
	st := serve(t, echo)
	cl := dial(t, st.addr)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for round := range 5 {
				body := strings.Repeat(string(rune('!'+i%90)), 1+i*997*round)
				a, err := roundTrip(t.Context(), cl, post(body))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(a.Body)
				_ = a.Body.Close()
				if string(b) != body {
					t.Errorf("stream %d got %d of %d bytes, %v", i, len(b), len(body), err)
				}
			}
		})
	}
	wg.Wait()
	if n := cl.Open(); n != 0 {
		t.Errorf("%d exchanges are left", n)
	}
}

func TestABodyThatStreamsAndItsTrailers(t *testing.T) {
	t.Parallel()
	st := serve(t, echo)
	cl := dial(t, st.addr)
	body := long(3 << 20)
	c := post("")
	c.Length = -1
	c.Body = invoke.NewBody(io.NopCloser(strings.NewReader(body)), func() invoke.Fields {
		return invoke.Fields{{Name: "X-B", Value: "1"}, {Name: "X-A", Value: "2"}, {Name: "x-b", Value: "3"}}
	})
	a, err := roundTrip(t.Context(), cl, c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(a.Body)
	if string(got) != body || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	trailers := a.Body.Trailers()
	want := invoke.Fields{{Name: "x-b", Value: "1"}, {Name: "x-a", Value: "2"}, {Name: "x-b", Value: "3"}}
	if len(trailers) != 3 || trailers[0] != want[0] || trailers[1] != want[1] || trailers[2] != want[2] {
		t.Errorf("trailers %v, want %v", trailers, want)
	}
	_ = a.Body.Close()
}
