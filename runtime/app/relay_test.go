package app_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
)

// named is an app that answers with its name, once let is closed.
func named(t *testing.T, name string, let <-chan struct{}, got chan<- string) *app.App {
	t.Helper()
	port := porttest.Reserve(t)
	serveOn(t, port.Listen(t), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- name
		<-let
		_, _ = io.WriteString(w, name)
	}))
	a, _ := runApp(t, app.Config{Port: port.Number(), Name: name})
	return a
}

// The calls that the first app has are answered by it; all later ones are the
// second one's; none is lost, however the switch falls among them.
func TestASwitchLosesNoCall(t *testing.T) {
	t.Parallel()
	const calls = 100 // one after the other
	let, free := make(chan struct{}), make(chan struct{})
	close(free)
	got := make(chan string, calls+1)
	first, second := named(t, "first", let, got), named(t, "second", free, got)
	relay := app.NewRelay(first)
	call := func() string {
		ans, err := relay.Serve(within.Context(t), get("/"))
		if err != nil {
			return err.Error()
		}
		b, _ := io.ReadAll(ans.Body)
		_ = ans.Body.Close()
		return string(b)
	}
	early := make(chan string, 1)
	go func() { early <- call() }()
	within.Receive(t, got) // the first app has one
	answers := make(chan string, calls)
	go func() {
		for range calls {
			answers <- call()
		}
	}()
	within.Receive(t, got) // and a second one, that has its caller wait
	relay.Switch(second)
	drained := make(chan error, 1)
	go func() { drained <- first.Drain(within.Context(t)) }()
	close(let)
	if err := within.Receive(t, drained); err != nil {
		t.Errorf("Drain = %v", err)
	}
	count := map[string]int{within.Receive(t, early): 1}
	for range calls {
		count[within.Receive(t, answers)]++
	}
	if count["first"] != 2 || count["second"] != calls-1 {
		t.Errorf("answers: %v of %d", count, calls+1)
	}
}

// Before an app is stopped to be started anew, it may answer what it has; what
// comes meanwhile waits.
func TestQuietWaitsForTheCallsThatTheAppHas(t *testing.T) {
	t.Parallel()
	let, got := make(chan struct{}), make(chan string, 10)
	a := named(t, "a", let, got)
	answered := make(chan error, 2)
	call := func() {
		ans, err := a.Serve(within.Context(t), get("/"))
		if err == nil {
			_ = ans.Body.Close()
		}
		answered <- err
	}
	go call()
	within.Receive(t, got)
	a.Restarting()
	go call()
	within.Until(t, "the call to wait", func() bool { return a.Waiting() == 1 })

	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := a.Quiet(short); err == nil {
		t.Error("Quiet = nil while the app has a call")
	}
	quiet := make(chan error, 1)
	go func() { quiet <- a.Quiet(within.Context(t)) }()
	close(let)
	if err := within.Receive(t, quiet); err != nil {
		t.Errorf("Quiet = %v", err)
	}
	if err := within.Receive(t, answered); err != nil || a.Waiting() != 1 {
		t.Errorf("the call that the app had = %v, %d wait", err, a.Waiting())
	}
	a.Started()
	if err := within.Receive(t, answered); err != nil {
		t.Errorf("the call that waited = %v", err)
	}
}

// Servers write the head of an answer before its body: whoever is told to end
// between the two would cut it off.
func TestAnAnswerThatHasBegunMayEnd(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(*app.App, context.Context) error{
		"before a restart": func(a *app.App, ctx context.Context) error {
			a.Restarting()
			return a.Quiet(ctx)
		},
		"before the end": (*app.App).Drain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, let := porttest.Reserve(t), make(chan struct{})
			serveOn(t, port.Listen(t), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "4")
				_ = http.NewResponseController(w).Flush()
				<-let
				_, _ = io.WriteString(w, "body")
			}))
			a, _ := runApp(t, app.Config{Port: port.Number()})
			ans, err := a.Serve(within.Context(t), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan string, 1)
			go func() {
				b, _ := io.ReadAll(ans.Body)
				_ = ans.Body.Close()
				read <- string(b)
			}()
			began := time.Now()
			time.AfterFunc(10*time.Millisecond, func() { close(let) })
			if err := wait(a, within.Context(t)); err != nil {
				t.Error(err)
			}
			if a.Inflight() > 0 && time.Since(began) < 250*time.Millisecond { // on a machine that is very slow its moment is over
				t.Error("it was not waited for")
			}
			if got := within.Receive(t, read); got != "body" {
				t.Errorf("the answer is %q", got)
			}
		})
	}
}

// A call that waits for an app that is gone has its answer of the one that takes
// over, its body with it.
func TestACallThatWaitsGoesToTheOneThatTakesOver(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t)
	gone, _ := runApp(t, app.Config{Port: port.Number(), Name: "gone"})
	next := porttest.Reserve(t)
	serveOn(t, next.Listen(t), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	second, _ := runApp(t, app.Config{Port: next.Number(), Name: "second"})
	relay := app.NewRelay(gone)
	answered := make(chan string, 1)
	go func() {
		ans, err := relay.Serve(within.Context(t), post("/", "a body"))
		if err != nil {
			answered <- err.Error()
			return
		}
		b, _ := io.ReadAll(ans.Body)
		_ = ans.Body.Close()
		answered <- string(b)
	}()
	within.Until(t, "the call to wait", func() bool { return gone.Held() == 1 })
	relay.Switch(second)
	if err := gone.Drain(within.Context(t)); err != nil {
		t.Errorf("Drain = %v", err)
	}
	if got := within.Receive(t, answered); got != "a body" {
		t.Errorf("the call got %q", got)
	}
	if gone.Inflight() != 0 || second.Inflight() != 0 {
		t.Errorf("%d and %d calls in flight", gone.Inflight(), second.Inflight())
	}
	if _, err := gone.Serve(within.Context(t), get("/")); err == nil || err.Error() != "this instance is leaving" {
		t.Errorf("without a successor: %v", err)
	}
}
