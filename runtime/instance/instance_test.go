package instance_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/instance"
)

const trust = "0123abcd"

// An app is an instance's control, set by hand.
type app struct {
	entry func() rundir.Entry
	asked chan bool // each request to stop; the value is now
	err   error

	mu     sync.Mutex // guards what follows
	calls  int
	ending instance.Ending
}

func (a *app) Status() instance.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return instance.Status{Entry: a.entry(), Calls: a.calls, Ending: a.ending}
}

func (a *app) Stop(_ context.Context, now bool) error {
	if a.err != nil {
		return a.err
	}
	a.asked <- now
	return nil
}

func (a *app) set(calls int, e instance.Ending) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls, a.ending = calls, e
}

// A running instance.
type running struct {
	*app
	dir          *rundir.Dir
	registration *rundir.Registration
	end          func() // ends Serve, then the registration
}

// run serves an instance until its end is called, at the latest by the test's.
func run(t *testing.T, base string) *running {
	t.Helper()
	return serve(t, base, func(a *app) instance.Control { return a })
}

// serve is run with the control that is made of the app.
func serve(t *testing.T, base string, control func(*app) instance.Control) *running {
	t.Helper()
	dir, err := rundir.Open(base, trust)
	if err != nil {
		t.Fatal(err)
	}
	r, err := dir.Register(rundir.Entry{
		App: "todo-api", Namespace: "default", TrustDomain: "public", State: "ready", PID: os.Getpid(),
		Command: []string{"go", "run", "."}, Since: time.Now().Add(-time.Minute).Round(0), Version: "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &app{entry: r.Entry, asked: make(chan bool, 10)}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	c := control(a)
	go func() { served <- instance.Serve(ctx, r, c) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return &running{app: a, dir: dir, registration: r, end: end}
}

func TestStatusIsTheEntryAndMore(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	x.set(3, instance.Ending{})
	got, err := instance.Dial(x.registration.Entry()).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := x.registration.Entry()
	if !got.Since.Equal(want.Since) {
		t.Errorf("since %v, want %v", got.Since, want.Since)
	}
	got.Since = want.Since
	if !reflect.DeepEqual(got.Entry, want) {
		t.Errorf("entry = %+v, want %+v", got.Entry, want)
	}
	if got.Calls != 3 || got.Uptime < time.Minute || got.Uptime > time.Hour || got.Phase != instance.Running {
		t.Errorf("calls %d, uptime %v, phase %q", got.Calls, got.Uptime, got.Phase)
	}
}

func TestStopTellsEachStepAndHowItEnded(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	x.set(2, instance.Ending{})
	lines := make(chan instance.Progress, 100)
	c := instance.Dial(x.registration.Entry())
	c.Progress = func(p instance.Progress) { lines <- p }
	type result struct {
		instance.Ended
		err error
	}
	done := make(chan result, 1)
	go func() {
		how, err := c.Stop(t.Context(), false)
		done <- result{how, err}
	}()
	if now := within.Receive(t, x.asked); now {
		t.Error("a graceful stop asked for one at once")
	}
	step := func(calls int, e instance.Ending) {
		t.Helper()
		x.set(calls, e)
		for p := within.Receive(t, lines); p.Calls != calls || !reflect.DeepEqual(p.Ending, e); {
			p = within.Receive(t, lines)
		}
	}
	step(2, instance.Ending{Phase: instance.Draining})
	step(1, instance.Ending{Phase: instance.Draining})
	step(0, instance.Ending{Phase: instance.Signalled, Waiting: []string{"python3 (4391)"}})
	x.set(0, instance.Ending{Phase: instance.Over, Exit: "exit 0"})
	select {
	case r := <-done:
		t.Fatalf("Stop returned %+v before the instance was gone", r)
	default:
	}
	x.end()
	r := within.Receive(t, done)
	if r.err != nil || r.Calls != 2 || r.Exit != "exit 0" || len(r.Killed) != 0 || r.Took <= 0 {
		t.Errorf("Stop = %+v, %v, want 2 calls finished, exit 0", r.Ended, r.err)
	}
	if left, err := x.dir.Entries(); err != nil || len(left) != 0 {
		t.Errorf("Entries after Stop = %v, %v", left, err)
	}
}

func TestStopNamesWhatWasKilled(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	x.set(1, instance.Ending{})
	go func() {
		if now := <-x.asked; !now {
			t.Error("a stop at once asked for a graceful one")
		}
		x.set(0, instance.Ending{Phase: instance.Over, Exit: "signal 9", Killed: []string{"python3 (4391)"}})
		x.end()
	}()
	how, err := instance.Dial(x.registration.Entry()).Stop(t.Context(), true)
	if err != nil || !slices.Equal(how.Killed, []string{"python3 (4391)"}) || how.Calls != 0 || how.Exit != "signal 9" {
		t.Errorf("Stop = %+v, %v", how, err)
	}
}

func TestTwoMayAskToStop(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if how, err := instance.Dial(x.registration.Entry()).Stop(t.Context(), false); err != nil || how.Exit != "exit 0" {
				t.Errorf("Stop = %+v, %v", how, err)
			}
		})
	}
	within.Receive(t, x.asked)
	within.Receive(t, x.asked)
	x.set(0, instance.Ending{Phase: instance.Over, Exit: "exit 0"})
	x.end()
	both.Wait()
}

func TestStopOfOneThatIsGoneHasNothingToDo(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	entry := x.registration.Entry()
	x.end()
	if how, err := instance.Dial(entry).Stop(t.Context(), false); err != nil || how.Exit != "" {
		t.Errorf("Stop = %+v, %v, want nothing", how, err)
	}
	if _, err := instance.Dial(entry).Status(t.Context()); !apperr.Is(err, apperr.NoSuchApp) {
		t.Errorf("Status = %v, want NO_SUCH_APP", err)
	}
}

func TestStopWaitsForTheSocketOfOneThatStarts(t *testing.T) {
	t.Parallel()
	dir, err := rundir.Open(t.TempDir(), trust)
	if err != nil {
		t.Fatal(err)
	}
	r, err := dir.Register(rundir.Entry{App: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	got := make(chan error, 1)
	go func() {
		_, err := instance.Dial(r.Entry()).Status(t.Context())
		got <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- instance.Serve(ctx, r, &app{entry: r.Entry}) }()
	if err := within.Receive(t, got); err != nil {
		t.Errorf("Status = %v", err)
	}
	cancel()
	if err := within.Receive(t, served); err != nil {
		t.Error(err)
	}
}

func TestStopEndsWithItsContext(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	go func() {
		<-x.asked
		cancel(enough)
	}()
	if _, err := instance.Dial(x.registration.Entry()).Stop(ctx, false); !errors.Is(err, enough) {
		t.Errorf("Stop = %v, want %v", err, enough)
	}
}

func TestRefusalToStopIsPassedOn(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	x.err = &apperr.Error{Reason: apperr.OwnConfig, What: "todo-api cannot be stopped", Hint: "ask ada"}
	_, err := instance.Dial(x.registration.Entry()).Stop(t.Context(), false)
	var e *apperr.Error
	if !errors.As(err, &e) || e.Reason != apperr.OwnConfig || e.Hint != "ask ada" {
		t.Errorf("Stop = %v, want the instance's own error", err)
	}
}

func TestSocketIsTheOwnersAlone(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	if _, err := instance.Dial(x.registration.Entry()).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(x.registration.Entry().Socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	x.end()
	if _, err := os.Lstat(x.registration.Entry().Socket); err == nil {
		t.Error("the socket is still there")
	}
}

func TestRequestsThatAreNotOurs(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	client := overSocket(x.registration.Entry().Socket)
	if _, err := instance.Dial(x.registration.Entry()).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, target, body string
		want                 int
	}{
		{"GET", "/v1/stop", "", 405},
		{"GET", "/v1/restart", "", 405},
		{"POST", "/v1/status", "", 405},
		{"GET", "/", "", 404},
		{"POST", "/v1/stop?now=perhaps", "", 400},
		{"POST", "/v1/stop", "body", 413},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "http://x"+test.target, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Body.Close()
		if got.StatusCode != test.want {
			t.Errorf("%s %s answered %d, want %d", test.method, test.target, got.StatusCode, test.want)
		}
	}
	select {
	case <-x.asked:
		t.Error("one of them stopped the instance")
	default:
	}
}

// Who holds connections open and says nothing does not keep the instance.
func TestIdleConnectionsDoNotDelayTheEnd(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	if _, err := instance.Dial(x.registration.Entry()).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", x.registration.Entry().Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = conn.Write([]byte("GET"))
	}
	x.end() // hangs until the test's time is up if they did
}

func TestSocketIsOpenedAgainWhenTheFolderWasRemoved(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	c := instance.Dial(x.registration.Entry())
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(x.dir.Path()); err != nil {
		t.Fatal(err)
	}
	if restored, err := x.registration.Check(); err != nil || !restored {
		t.Fatalf("Check = %v, %v", restored, err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("Status after the folder was put back = %v", err)
	}
}

// A cleaner may take the socket alone.
func TestSocketIsOpenedAgainWhenItAloneWasRemoved(t *testing.T) {
	t.Parallel()
	x := run(t, t.TempDir())
	entry := x.registration.Entry()
	c := instance.Dial(entry)
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(entry.Socket); err != nil {
		t.Fatal(err)
	}
	if restored, err := x.registration.Check(); err != nil || !restored {
		t.Fatalf("Check = %v, %v", restored, err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("Status after the socket was opened again = %v", err)
	}
}

func overSocket(path string) *http.Client {
	return &http.Client{Timeout: within.Patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
}

const baseEnv = "INSTANCE_TEST_BASE"

// TestMain makes the test binary an instance that drains for ever.
func TestMain(m *testing.M) {
	base := os.Getenv(baseEnv)
	if base == "" {
		os.Exit(m.Run())
	}
	dir, err := rundir.Open(base, trust)
	if err != nil {
		panic(err)
	}
	r, err := dir.Register(rundir.Entry{App: "stubborn", PID: os.Getpid()})
	if err != nil {
		panic(err)
	}
	a := &app{entry: r.Entry, asked: make(chan bool, 10)}
	a.set(1, instance.Ending{Phase: instance.Draining, Killed: []string{"sh (7)"}})
	fmt.Println(r.Entry().ID)
	if err := instance.Serve(context.Background(), r, a); err != nil {
		panic(err)
	}
}

// An instance that is killed while it is being stopped has ended all the same.
func TestStopOfOneThatIsKilledMeanwhile(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), baseEnv+"="+base)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	dir, err := rundir.Open(base, trust)
	if err != nil {
		t.Fatal(err)
	}
	live, err := dir.Entries()
	if err != nil || len(live) != 1 {
		t.Fatalf("Entries = %v, %v", live, err)
	}
	c := instance.Dial(live[0])
	c.Progress = func(instance.Progress) { _ = cmd.Process.Kill() }
	how, err := c.Stop(t.Context(), false)
	if err != nil || how.Exit != "" || !slices.Equal(how.Killed, []string{"sh (7)"}) {
		t.Errorf("Stop = %+v, %v, want an end without a last word", how, err)
	}
	_ = cmd.Wait()
}
