package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// held starts n calls that have to wait, one after the other, and returns their
// errors.
func held(t *testing.T, a *app.App, n int, call func(i int) *invoke.Call) <-chan error {
	t.Helper()
	results := make(chan error, n)
	for i := range n {
		before := a.Waiting()
		go func() {
			ans, err := a.Serve(within.Context(t), call(i))
			if err == nil {
				_, err = io.Copy(io.Discard, ans.Body)
				_ = ans.Body.Close()
			}
			results <- err
		}()
		within.Until(t, "the call to wait", func() bool { return a.Waiting() > before })
	}
	return results
}

// Calls that come while the app starts reach it in their order.
func TestCallsWaitForTheAppInOrder(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t)
	a, _ := runApp(t, app.Config{Port: port.Number(), Command: true})
	if s := a.State(); s != discovery.Starting {
		t.Errorf("State = %s", s)
	}
	const calls = 100
	var mu sync.Mutex
	var order []int
	results := held(t, a, calls, func(i int) *invoke.Call {
		c := get("/")
		c.Reached = func() {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
		}
		return c
	})
	serveOn(t, port.Listen(t), http.NotFoundHandler())
	for range calls {
		if err := within.Receive(t, results); err != nil {
			t.Error(err)
		}
	}
	if len(order) != calls || !slices.IsSorted(order) {
		t.Errorf("order = %v", order)
	}
	if s := a.State(); s != discovery.Ready {
		t.Errorf("State = %s", s)
	}
}

// With one call at a time the order is exact.
func TestHeldOrderIsExactOneAtATime(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t)
	a, _ := runApp(t, app.Config{Port: port.Number(), Command: true, MaxConcurrency: 1})
	const calls = 50
	results := held(t, a, calls, func(i int) *invoke.Call { return get(fmt.Sprint("/", i)) })
	var order []string // one call at a time
	serveOn(t, port.Listen(t), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		order = append(order, r.URL.Path)
	}))
	for range calls {
		if err := within.Receive(t, results); err != nil {
			t.Error(err)
		}
	}
	for i, path := range order {
		if path != fmt.Sprint("/", i) {
			t.Fatalf("order = %v", order)
		}
	}
}

// An app that restarts behind its port, as reloaders do, loses no call.
func TestRestartBetweenCallsLosesNone(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t)
	ln := port.Listen(t)
	var mu sync.Mutex
	seen := make(map[string]int)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen[string(id)]++
	})
	start := func() (stop func()) {
		srv := &http.Server{Handler: h}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(ln) }()
		return func() { _ = srv.Shutdown(context.Background()); <-done }
	}
	a, rec := runApp(t, app.Config{Port: port.Number(), Command: true})
	for n := range 10 {
		stop := start()
		for i := range 3 {
			do(t, a, post("/", fmt.Sprint(n, ".", i)))
		}
		stop()
		results := held(t, a, 1, func(int) *invoke.Call { return post("/", fmt.Sprint(n, ".held")) })
		within.Until(t, "the port to be seen closed", func() bool { return a.State() == discovery.Restarting })
		ln = port.Listen(t)
		stop = start()
		if err := within.Receive(t, results); err != nil {
			t.Error(err)
		}
		stop()
		ln = port.Listen(t)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", id, n)
		}
	}
	if len(seen) != 40 || len(rec.all()) != 0 {
		t.Errorf("%d of 40 seen; events %v", len(seen), rec.all())
	}
}

// A call that has another choice is not held.
func TestCallWithAnotherChoiceIsRefused(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t)
	a, _ := runApp(t, app.Config{Port: port.Number(), Command: true})
	c := get("/")
	c.Only = false
	if e := failed(t, a, c); e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo {
		t.Errorf("error = %s, reached %s", e.Reason, e.Reached)
	}
	// The same when it is this call that finds the port closed.
	ln := port.Listen(t)
	srv := serveOn(t, ln, http.NotFoundHandler())
	do(t, a, get("/"))
	_ = srv.Close()
	c = get("/")
	c.Only = false
	if e := failed(t, a, c); e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo {
		t.Errorf("error = %s, reached %s", e.Reason, e.Reached)
	}
	// And the app is found again although nobody waits for it.
	serveOn(t, port.Listen(t), http.NotFoundHandler())
	within.Until(t, "ready", func() bool { return a.State() == discovery.Ready })
}

func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t).Number()
	a, _ := runApp(t, app.Config{Port: port, Command: true, Hold: app.HoldLimits{Calls: 3, Bytes: 100 << 10}})
	results := held(t, a, 3, func(int) *invoke.Call { return get("/") })
	if e := failed(t, a, get("/")); e.Reason != apperr.HoldExceeded || e.Reached != apperr.ReachedNo {
		t.Errorf("the fourth call: %s, reached %s", e.Reason, e.Reached)
	}
	a.Exited("exit status 1")
	for range 3 {
		e := apperr.From(within.Receive(t, results))
		if e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo ||
			!strings.HasPrefix(e.Message(), "connection refused: orders has exited (exit status 1; ") {
			t.Errorf("error = %s, %s", e.Reason, e.Message())
		}
	}
	a.Restarting()
	big := post("/", strings.Repeat("x", 101<<10))
	if e := failed(t, a, big); e.Reason != apperr.HoldExceeded {
		t.Errorf("a body of 101 KiB: %s", e.Reason)
	}
}

// A body of no known length costs what it may become until it is there, and then
// what it is; those of one line never more than that holds.
func TestWhatIsHeldCostsWhatItIs(t *testing.T) {
	t.Parallel()
	for _, line := range []any{nil, "a link"} {
		var there atomic.Bool
		call := func(int) *invoke.Call {
			return &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: comingBody{invoke.BytesBody([]byte("x")), &there, line}, Length: -1}
		}
		a, _ := runApp(t, app.Config{Port: porttest.Reserve(t).Number(), Command: true, Hold: app.HoldLimits{Bytes: 1 << 20}})
		first := 3 // which may take 256 KiB each
		if line != nil {
			first = 50
		}
		results := held(t, a, first, call)
		if line == nil {
			if e := failed(t, a, call(0)); e.Reason != apperr.HoldExceeded {
				t.Errorf("one more while bodies are on their way: %s", e.Reason)
			}
		}
		there.Store(true)
		more := held(t, a, 100, call)
		a.Exited("exit status 1")
		for range first {
			_ = within.Receive(t, results) // it has exited
		}
		for range 100 {
			if e := apperr.From(within.Receive(t, more)); e.Reason == apperr.HoldExceeded {
				t.Fatalf("one more when they are there: %v", e)
			}
		}
	}
}

// A comingBody is all there once there says so. Of its line half a MiB may wait.
type comingBody struct {
	invoke.Body
	there *atomic.Bool
	line  any
}

func (b comingBody) Held() (int64, bool) {
	n, _ := invoke.Held(b.Body)
	return n, b.there.Load()
}

func (b comingBody) Line() (line any, most int64) { return b.line, 512 << 10 }

func TestHoldEndsAfterItsTime(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t).Number()
	a, _ := runApp(t, app.Config{Port: port, Hold: app.HoldLimits{Wait: 50 * time.Millisecond}})
	body := newPieces()
	e := failed(t, a, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: -1})
	want := fmt.Sprintf("connection refused: orders's app port %d is closed (held ", port)
	if e.Reason != apperr.AppUnreachable || e.Reached != apperr.ReachedNo || !strings.HasPrefix(e.Message(), want) {
		t.Errorf("error = %s, reached %s, %q, want %q…", e.Reason, e.Reached, e.Message(), want)
	}
	within.Receive(t, body.closed)
}

// A first start has its own time; it ends when the process does.
func TestFirstStartIsWaitedForLonger(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t).Number()
	a, _ := runApp(t, app.Config{
		Port: port, Command: true, StartHold: 300 * time.Millisecond, Hold: app.HoldLimits{Wait: time.Millisecond},
	})
	c := get("/")
	c.Timing = new(invoke.Timing)
	begun := time.Now()
	if e := failed(t, a, c); e.Reason != apperr.AppUnreachable {
		t.Errorf("error = %s", e.Reason)
	}
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("the call was held for %v only", took)
	}
}

func TestHeldCallIsCancelled(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t).Number()
	a, _ := runApp(t, app.Config{Port: port, Command: true})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for a.Inflight() == 0 {
			time.Sleep(time.Millisecond) // between looks at a condition
		}
		cancel(errors.New("gone"))
	}()
	_, err := a.Serve(ctx, get("/"))
	if e := apperr.From(err); e.Reason != apperr.Cancelled || e.Reached != apperr.ReachedNo {
		t.Errorf("error = %s, reached %s", e.Reason, e.Reached)
	}
	limited := within.Limited(t)
	go func() {
		for a.Waiting() == 0 {
			time.Sleep(time.Millisecond) // between looks at a condition
		}
		time.AfterFunc(5*time.Millisecond, limited.Pass) // what waits for less counts as not held
	}()
	_, err = a.Serve(limited, get("/"))
	if e := apperr.From(err); e.Reason != apperr.DeadlineExceeded || e.Reached != apperr.ReachedNo ||
		!strings.Contains(e.Message(), "waiting for orders to be ready") {
		t.Errorf("error = %s, %s, reached %s", e.Reason, e.Message(), e.Reached)
	}
}

// Who waits longest is next, and a slot is held until its answer is read.
func TestConcurrencyIsBoundedAndFair(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	order := make(chan string, 100)
	port := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		order <- r.URL.Path
		now.Add(-1)
	}))
	a, _ := runApp(t, app.Config{Port: port, MaxConcurrency: 1})
	streaming, err := a.Serve(within.Context(t), get("/first"))
	if err != nil {
		t.Fatal(err)
	}
	body := streaming.Body
	_, _ = io.Copy(io.Discard, body) // an answer without a body is over at once
	_ = body.Close()

	slow := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		order <- r.URL.Path
		_, _ = io.WriteString(w, "body")
	}))
	a, _ = runApp(t, app.Config{Port: slow, MaxConcurrency: 1})
	within.Receive(t, order)
	first, err := a.Serve(within.Context(t), get("/first")) // its body is not read yet
	if err != nil {
		t.Fatal(err)
	}
	within.Receive(t, order)
	results := held(t, a, 10, func(i int) *invoke.Call { return get(fmt.Sprint("/", i)) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := a.Serve(ctx, get("/impatient")); !apperr.Is(err, apperr.DeadlineExceeded) || apperr.From(err).Reached != apperr.ReachedNo {
		t.Errorf("the impatient call: %v", err)
	}
	select {
	case path := <-order:
		t.Fatalf("%s got in beside the first", path)
	default:
	}
	_ = first.Body.Close()
	for i := range 10 {
		if path := within.Receive(t, order); path != fmt.Sprint("/", i) {
			t.Errorf("%s came as number %d", path, i)
		}
		if err := within.Receive(t, results); err != nil {
			t.Error(err)
		}
	}
}

// Draining waits for heads, not for streams, and then refuses.
func TestDrain(t *testing.T) {
	t.Parallel()
	release, arrived := make(chan struct{}), make(chan struct{})
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
		} else {
			close(arrived)
		}
		<-release
	}))
	a, rec := runApp(t, app.Config{Port: port})
	stream, err := a.Serve(within.Context(t), get("/stream"))
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		ans, err := a.Serve(within.Context(t), get("/slow"))
		if err == nil {
			_ = ans.Body.Close()
		}
		result <- err
	}()
	within.Receive(t, arrived)
	drained := make(chan error, 1)
	go func() { drained <- a.Drain(within.Context(t)) }()
	within.Until(t, "draining", func() bool { return a.State() == discovery.Draining })
	select {
	case err := <-drained:
		t.Fatalf("Drain = %v before the answer", err)
	default:
	}
	close(release)
	if err := within.Receive(t, result); err != nil {
		t.Error(err)
	}
	if err := within.Receive(t, drained); err != nil {
		t.Errorf("Drain = %v", err)
	}
	if e := failed(t, a, get("/")); e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo {
		t.Errorf("after the drain: %s, reached %s", e.Reason, e.Reached)
	}
	if _, err := io.ReadAll(stream.Body); err != nil {
		t.Errorf("the stream: %v", err)
	}
	_ = stream.Body.Close()
	if len(rec.all()) != 0 {
		t.Errorf("events = %v", rec.all())
	}
}

func TestDrainRefusesWhatWaitsForTheApp(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t).Number()
	a, _ := runApp(t, app.Config{Port: port, Command: true})
	results := held(t, a, 2, func(int) *invoke.Call { return get("/") })
	if err := a.Drain(within.Context(t)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	for range 2 {
		if e := apperr.From(within.Receive(t, results)); e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo {
			t.Errorf("error = %s, reached %s", e.Reason, e.Reached)
		}
	}
}

func TestDrainEndsWithItsTime(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	port := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	a, _ := runApp(t, app.Config{Port: port})
	ctx, cancel := context.WithCancel(within.Context(t))
	defer cancel()
	go func() { _, _ = a.Serve(ctx, get("/")) }()
	within.Receive(t, arrived)
	short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if err := a.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain = %v", err)
	}
	if e := failed(t, a, get("/")); e.Reason != apperr.Refused {
		t.Errorf("after the drain: %s", e.Reason)
	}
	cancel()
	within.Until(t, "the call to end", func() bool { return a.Inflight() == 0 })
}

func TestAppWithoutPort(t *testing.T) {
	t.Parallel()
	a, _ := runApp(t, app.Config{})
	e := failed(t, a, get("/"))
	if e.Reason != apperr.AppHasNoPort || e.Reached != apperr.ReachedNo || !strings.HasPrefix(e.Message(), "app channel is not initialized") {
		t.Errorf("error = %s, %s", e.Reason, e.Message())
	}
	if a.State() != discovery.Ready || a.Port() != 0 {
		t.Errorf("State = %s, Port = %d", a.State(), a.Port())
	}
}

// A new process is waited for, and the old one's port is not mistaken for its.
func TestRestartingHoldsUntilStarted(t *testing.T) {
	t.Parallel()
	port := serve(t, http.NotFoundHandler())
	a, _ := runApp(t, app.Config{Port: port, Command: true})
	do(t, a, get("/"))
	a.Restarting()
	results := held(t, a, 3, func(int) *invoke.Call { return get("/") })
	select {
	case err := <-results:
		t.Fatalf("a call passed: %v", err)
	default:
	}
	a.Started()
	for range 3 {
		if err := within.Receive(t, results); err != nil {
			t.Error(err)
		}
	}
}
