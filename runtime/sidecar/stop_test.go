//go:build unix

package sidecar_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

// Not parallel: nothing else may start or end goroutines meanwhile.
func TestNothingOfARunIsLeftInTheProcess(t *testing.T) { //nolint:paralleltest // see above
	p := newPlace(t)
	run := func() {
		r := p.start(actServe, config.Sidecar{Discovery: []string{"local", "static"}, Peers: []string{"127.0.0.1:1"}})
		e := p.ready(r, "app")
		answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(e.HTTPPort)) + "/v1.0/invoke/app/method/x")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		http.DefaultClient.CloseIdleConnections()
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

func TestTheAppCanCallOthersWhileItIsToldToEnd(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.start(actServe, config.Sidecar{AppID: "other"}).awaitNotice("is ready")
	r := p.start(actCall, config.Sidecar{AppID: "caller"})
	p.ready(r, "caller")
	r.stop()
	if exit := r.end(); exit != 0 || !strings.Contains(r.output(), "outbound 200 hello") {
		t.Errorf("exit %d, it says\n%s", exit, r.output())
	}
}

func TestACallInFlightHasItsAnswerBeforeTheAppIsToldToEnd(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actServe, config.Sidecar{Grace: 2 * patience})
	e := p.ready(r, "app")
	answered := make(chan string, 1)
	go func() {
		answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(e.HTTPPort)) + "/v1.0/invoke/app/method/hold")
		if err != nil {
			answered <- err.Error()
			return
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		answered <- answer.Status + " " + string(body) + errText(err)
	}()
	r.awaitOutput("holding")
	r.stop()
	stopping := r.awaitNotice("stopping app")
	if !strings.Contains(stopping.String(), "1 call in flight") {
		t.Errorf("it says %q, want the call in flight", stopping)
	}
	if strings.Contains(r.output(), "SIGTERM") {
		t.Error("the app was told to end while a call was in it")
	}
	answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(p.entries()[0].AppPort)) + "/release")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if got := within.Receive(t, answered); got != "200 OK held" {
		t.Errorf("the call was answered %q", got)
	}
	if exit := r.end(); exit != 0 || !strings.Contains(r.output(), "SIGTERM") {
		t.Errorf("exit %d, it says\n%s", exit, r.output())
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return " " + err.Error()
}

func TestWhatDoesNotEndWithinTheGracePeriodIsKilledAndNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actDeaf, config.Sidecar{Grace: 200 * time.Millisecond})
	e := p.ready(r, "app")
	r.stop()
	if exit := r.end(); exit != 128+int(syscall.SIGKILL) {
		t.Errorf("exit %d, want that of SIGKILL", exit)
	}
	n, _ := r.notice("killed what did not end")
	if n.Kind != sidecar.Warning || !strings.Contains(n.Text, "("+strconv.Itoa(e.AppPID)+")") {
		t.Errorf("it says %v, want process %d named", r.notices(), e.AppPID)
	}
	if err := syscall.Kill(e.AppPID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", e.AppPID, err)
	}
}

func TestNoGraceKillsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actDeaf, config.Sidecar{Grace: config.NoWait})
	p.ready(r, "app")
	r.stop()
	if exit := r.end(); exit != 128+int(syscall.SIGKILL) {
		t.Errorf("exit %d, want that of SIGKILL", exit)
	}
}

func TestHurryEndsTheGracePeriod(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actDeaf, config.Sidecar{Grace: 10 * patience})
	p.ready(r, "app")
	r.stop()
	r.awaitOutput("SIGTERM")
	close(r.hurry)
	if exit := r.end(); exit != 128+int(syscall.SIGKILL) {
		t.Errorf("exit %d, want that of SIGKILL", exit)
	}
}

func TestARunThatIsStoppedBeforeItHasBegunLeavesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sidecar.Run(ctx, config.Sidecar{AppID: "app", Command: []string{"sleep", "1000"}, Discovery: []string{"local"}}, sidecar.Env{
		Home: p.home, Environ: []string{"PATH=/usr/bin:/bin", "PILLION_RUNTIME_DIR=" + p.base},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want what ended it", err)
	}
	if left := p.entries(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The control socket's stop and the folder that goes are no reason to hang.
func TestARunEndsAlthoughItsHomeAndRuntimeFolderAreGone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actServe, config.Sidecar{})
	p.ready(r, "app")
	r.remove(p.home.Path, p.base)
	r.stop()
	if exit := r.end(); exit != 0 {
		t.Errorf("exit %d\n%v", exit, r.notices())
	}
}
