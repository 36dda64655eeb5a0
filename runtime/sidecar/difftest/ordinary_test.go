package difftest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
)

// The same through ordinary programs: apps and clients of the standard library.

func TestAnEventArrivesBeforeTheNextIsMade(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	p := newHTTPPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 5 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			}
		}
	}))
	events := bufio.NewScanner(p.do(t.Context(), "GET", "/events", nil).Body)
	for n := range 5 {
		if !events.Scan() || events.Text() != "data: "+strconv.Itoa(n) || !events.Scan() {
			t.Fatalf("event %d is %q (%v)", n, events.Text(), events.Err())
		}
		seen <- struct{}{}
	}
	if events.Scan() {
		t.Errorf("one more: %q", events.Text())
	}
}

func TestALongPollIsAnsweredWhenItIsTime(t *testing.T) {
	t.Parallel()
	asked, now := make(chan struct{}), make(chan struct{})
	p := newHTTPPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		select {
		case <-now:
			_, _ = io.WriteString(w, "now")
		case <-r.Context().Done():
		}
	}))
	go func() {
		<-asked
		close(now)
	}()
	got, err := io.ReadAll(p.do(t.Context(), "GET", "/poll", nil).Body)
	if string(got) != "now" || err != nil {
		t.Errorf("got %q (%v)", got, err)
	}
}

func TestEarlyHintsReachAClient(t *testing.T) {
	t.Parallel()
	hinted := make(chan struct{})
	p := newHTTPPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Link", "</style.css>; rel=preload")
		w.Header().Add("Link", "</app.js>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		select {
		case <-hinted: // they are there before the answer is made
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "page")
	}))
	var links []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			links = append(links, strconv.Itoa(code)+" "+strings.Join(header["Link"], " "))
			close(hinted)
			return nil
		},
	})
	got, err := io.ReadAll(p.do(ctx, "GET", "/", nil).Body)
	want := []string{"103 </style.css>; rel=preload </app.js>; rel=preload"}
	if string(got) != "page" || err != nil || !slices.Equal(links, want) {
		t.Errorf("got %q (%v) behind %q, want %q", got, err, links, want)
	}
}

func TestTrailersCrossBothWays(t *testing.T) {
	t.Parallel()
	p := newHTTPPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Down")
		_, _ = fmt.Fprintf(w, "%s %s", body, r.Trailer.Get("X-Up"))
		w.Header().Set("X-Down", "sum")
	}))
	r, err := http.NewRequestWithContext(t.Context(), "POST", p.url("/"), io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"X-Up": {"check"}}
	answer, err := p.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	got, err := io.ReadAll(answer.Body)
	if string(got) != "body check" || err != nil || answer.Trailer.Get("X-Down") != "sum" {
		t.Errorf("got %q, %v (%v)", got, answer.Trailer, err)
	}
}

// countedBody notes whether it was read.
type countedBody struct {
	io.Reader
	read int
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

// continueWait is how long an app may take to say whether it wants a body, which
// it gets then.
const continueWait = time.Second

func TestAnAppDecidesWhetherABodyIsSent(t *testing.T) {
	t.Parallel()
	p := newHTTPPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/")); err == nil {
			w.WriteHeader(status)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	}))
	for path, sent := range map[string]int{"/take": 100000, "/417": 0, "/401": 0, "/413": 0} {
		body := &countedBody{Reader: strings.NewReader(strings.Repeat("x", 100000))}
		began := time.Now()
		answer := p.do(t.Context(), "POST", path, body, "Expect", "100-continue")
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if late := time.Since(began) > continueWait; body.read != sent && !late {
			t.Errorf("%s: %d bytes were sent, want %d; %s", path, body.read, sent, answer.Status)
		}
	}
}

func TestLongPathsAndLargeHeads(t *testing.T) {
	t.Parallel()
	p := newHTTPPair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), http.Header{"X-Large": r.Header["X-Large"]})
		_, _ = io.WriteString(w, r.RequestURI)
	}))
	path := "/" + strings.Repeat("a%2Fb", 1638)
	large := strings.Repeat("v", 55<<10)
	answer := p.do(t.Context(), "GET", path, nil, "X-Large", large)
	got, err := io.ReadAll(answer.Body)
	if string(got) != path || err != nil || answer.Header.Get("X-Large") != large {
		t.Errorf("got %.60q and a field of %d bytes (%v)", got, len(answer.Header.Get("X-Large")), err)
	}
	answer = p.do(t.Context(), "GET", "/", nil, "X-Large", strings.Repeat("v", 70<<10))
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a head of 70 KB: %s, want 431", answer.Status)
	}
}

func TestAClientThatGivesUpIsMissedByTheApp(t *testing.T) {
	t.Parallel()
	asked, missed := make(chan struct{}), make(chan struct{})
	p := newHTTPPair(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(missed)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	r, err := http.NewRequestWithContext(ctx, "GET", p.url("/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := p.client().Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v (%v), want the cancellation", answer, err)
	}
	within.Receive(t, missed)
}
