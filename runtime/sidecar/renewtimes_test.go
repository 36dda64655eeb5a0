//go:build unix

package sidecar_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/instance"
)

// Whoever mends what hangs need not wait until it is given up.
func TestAChangeWhileAnAppDoesNotGetReadyBeginsItAnew(t *testing.T) {
	t.Parallel()
	p, port := newPlace(t), porttest.Reserve(t)
	dir, change := watchedFolder(t)
	r := p.start(actStuck, config.Sidecar{Dir: dir, AppPort: port.Number(), Watch: []string{"main.txt"}, StartHold: 10 * patience})
	e := p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "stuck"), nil, 0o600))
	change()
	r.awaitOutput("stuck")
	must(t, os.Remove(filepath.Join(dir, "stuck")))
	change()
	r.awaitNotice("restarted")
	if got := call(e, "/pid"); got != strconv.Itoa(p.entry().AppPID) {
		t.Errorf("a call got %q", got)
	}
}

// Whoever waits for one that is to take over hears why it does not.
func TestAnAppThatIsToTakeOverOnAnotherPortIsNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actStray, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"}})
	p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "stray"), nil, 0o600))
	change()
	r.awaitNotice("app listens on")
	if n := r.countNotices("STALE"); n != 0 {
		t.Error("it was given up first")
	}
	must(t, os.Remove(filepath.Join(dir, "stray")))
	change()
	r.awaitNotice("app restarted")
}

// A call that waits for the old process has its answer of the new one.
func TestAnAppThatEndsWhileAnotherTakesOverLosesNoCallThatWaits(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actStuck, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"}})
	e := p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "stuck"), nil, 0o600))
	change()
	r.awaitOutput("stuck")
	call(e, "/crash")
	within.Until(t, "it to be gone", func() bool { return errors.Is(syscall.Kill(e.AppPID, 0), syscall.ESRCH) }) // until then it may take a call
	answer := make(chan string, 1)
	go func() { answer <- call(e, "/pid") }()
	within.Until(t, "the call to wait", func() bool { return p.entry().State != "ready" })
	must(t, os.WriteFile(filepath.Join(dir, "free"), nil, 0o600))
	r.awaitNotice("restarted")
	if got := within.Receive(t, answer); got != strconv.Itoa(p.entry().AppPID) {
		t.Errorf("the call got %q, it says %v", got, r.notices())
	}
}

// Somebody else's program on the app's port gets no call while the app is built.
func TestNobodyIsTakenForAnAppThatIsBeingBuilt(t *testing.T) {
	t.Parallel()
	p, dir, port := newPlace(t), t.TempDir(), porttest.Reserve(t)
	stranger := port.Listen(t)
	met := make(chan struct{}, 1)
	go func() {
		if c, err := stranger.Accept(); err == nil {
			_ = c.Close()
			met <- struct{}{}
		}
		close(met)
	}()
	r := p.start(actServe, config.Sidecar{
		Dir: dir, AppPort: port.Number(), Build: "echo building; until test -e free; do sleep 0.01; done",
	}, "PORT="+strconv.Itoa(int(port.Number())))
	r.awaitOutput("building")
	e, answer := p.entry(), make(chan string, 1)
	go func() { answer <- call(e, "/pid") }()
	within.Until(t, "the call to wait", func() bool {
		status, err := instance.Dial(e).Status(within.Context(t))
		return err == nil && status.Calls == 1
	})
	must(t, stranger.Close())
	if _, taken := <-met; taken {
		t.Error("it was dialled")
	}
	must(t, os.WriteFile(filepath.Join(dir, "free"), nil, 0o600))
	if got := within.Receive(t, answer); got != strconv.Itoa(p.entry().AppPID) {
		t.Errorf("the call got %q", got)
	}
}

// Not parallel: nothing else may start or end goroutines meanwhile.
func TestNothingOfReplacedProcessesIsLeftInTheProcess(t *testing.T) { //nolint:paralleltest // see above
	p := newPlace(t)
	run := func() {
		dir, change := watchedFolder(t)
		r := p.start(actFlaky, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"}, Build: brokenBuild, Discovery: []string{"local"}})
		e := p.ready(r, "app")
		change()
		r.await("a take-over", func() bool { return r.countNotices("app restarted") == 1 })
		must(t, os.WriteFile(filepath.Join(dir, "flaky"), []byte("x"), 0o600))
		change()
		r.await("one that fails", func() bool { return r.countNotices("STALE") == 1 })
		must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
		change()
		r.await("a build that fails", func() bool { return r.countNotices("STALE") == 2 })
		call(e, "/crash")
		r.await("the end", func() bool { return r.countNotices("waiting for a change") == 1 })
		must(t, os.Remove(filepath.Join(dir, "broken")))
		change()
		r.await("another", func() bool { return r.countNotices("app restarted") == 2 })
		r.stop()
		r.end()
	}
	run() // what the first one starts for good is not a leak
	before := runtime.NumGoroutine()
	run()
	for limit := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(limit) {
			all := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), all[:runtime.Stack(all, true)])
		}
	}
}
