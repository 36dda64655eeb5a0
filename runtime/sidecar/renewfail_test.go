//go:build unix

package sidecar_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/instance"
)

// brokenBuild fails while the folder has a file called broken.
const brokenBuild = "test ! -e broken || { echo broken; exit 1; }"

// Whoever calls an app that has ended is told so at once, also after a change
// that cannot be built.
func TestAnAppThatHasEndedDoesNotComeBackByABuildThatFails(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"}, Build: brokenBuild})
	e := p.ready(r, "app")
	caller := p.start("", config.Sidecar{AppID: "caller"})
	caller.awaitNotice("is up")
	call(e, "/crash")
	r.await("that it waits", func() bool { return r.countNotices("waiting for a change") == 1 })
	for _, other := range p.entries() {
		if got := call(other, "/pid"); other.App == "caller" && !strings.Contains(got, "does not run and waits for a change of its files") {
			t.Errorf("another app's call got %q", got)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	change()
	r.awaitNotice("the build failed")
	within.Until(t, "the entry to say so", func() bool { return p.entry().State == string(discovery.Unhealthy) })
	if got := call(e, "/pid"); !strings.Contains(got, "waits for a change of its files") || !strings.Contains(got, "exit 1: broken") {
		t.Errorf("a call got %q", got)
	}
	must(t, os.Remove(filepath.Join(dir, "broken")))
	change()
	r.awaitNotice("restarted")
	if got := call(e, "/pid"); got != strconv.Itoa(p.entry().AppPID) {
		t.Errorf("a call got %q", got)
	}
}

// What runs after a crash is what was built last: that it did not get ready at
// first makes it no old one.
func TestACrashOfTheOldOneHasTheNewOneStarted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actFlaky, config.Sidecar{
		Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"}, Build: brokenBuild, Restart: config.RestartOnFailure,
	})
	e := p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "flaky"), []byte("x"), 0o600))
	change()
	r.awaitNotice("STALE")
	call(e, "/crash")
	r.awaitNotice("restarted")
	if now := p.entry(); now.Stale != "" || now.AppPID == e.AppPID {
		t.Errorf("the entry is %+v", now)
	}
}

// The same of one that has never run.
func TestAnAppWhoseFirstBuildFailsWaitsForAChange(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"}, Build: brokenBuild})
	r.awaitNotice("the build failed")
	within.Until(t, "the entry to say so", func() bool { return p.entry().State == string(discovery.Unhealthy) })
	if got := call(p.entry(), "/pid"); !strings.Contains(got, "waits for a change of its files") || !strings.Contains(got, "exit 1: broken") {
		t.Errorf("a call got %q", got)
	}
	must(t, os.Remove(filepath.Join(dir, "broken")))
	change()
	e := p.ready(r, "app")
	if got := call(e, "/pid"); got != strconv.Itoa(e.AppPID) {
		t.Errorf("a call got %q", got)
	}
}

// A restart by hand while an app that has ended is about to be started again
// must not make it stay away.
func TestAnAppComesBackAlthoughABuildFailsMeanwhile(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "flaky"), []byte("xxxxx"), 0o600))
	r := p.start(actFlaky, config.Sidecar{Dir: dir, AppPortAuto: true, Restart: config.RestartOnFailure, Build: brokenBuild})
	r.await("a long rest", func() bool { return r.countNotices("4 of 5") == 1 })
	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	if _, err := instance.Dial(p.entry()).Restart(within.Context(t)); !apperr.Is(err, apperr.NotExecutable) {
		t.Errorf("Restart = %v", err)
	}
	if e := p.ready(r, "app"); call(e, "/pid") != strconv.Itoa(e.AppPID) {
		t.Errorf("the entry is %+v", e)
	}
}

// What cannot even be started is tried as often as what ends, and is then the
// reason why pillion ends.
func TestAnAppThatCannotBeStartedAgainIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, filepath.Join(dir, "app")))
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Restart: config.RestartOnFailure, Command: []string{builtApp}})
	e := p.ready(r, "app")
	must(t, os.Remove(filepath.Join(dir, "app")))
	call(e, "/crash")
	if err := r.failed(); !apperr.Is(err, apperr.CommandNotFound) || r.countNotices("starting it again in") != 5 {
		t.Errorf("Run = %v, it says %v", err, r.notices())
	}
}

// The log says why there was nothing to log.
func TestTheLogSaysWhyAnAppWasNotStarted(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "app"), []byte("no program"), 0o700))
	r := p.start(actServe, config.Sidecar{Dir: dir, Command: []string{builtApp}})
	if err := r.failed(); !apperr.Is(err, apperr.NotExecutable) {
		t.Errorf("Run = %v", err)
	}
	if run, kept := p.kept("app"); run.State != logs.Ended || strings.Count(kept, "✗ cannot execute ./app") != 1 {
		t.Errorf("the log's run is %+v\n%s", run, kept)
	}
}

// An app that we have stopped, and that cannot be started then, has not ended by
// itself: how it ended is not how the run did.
func TestAnAppThatCannotBeStartedAfterItWasStoppedIsAFailure(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, filepath.Join(dir, "app")))
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Command: []string{builtApp}})
	e := p.ready(r, "app")
	must(t, os.Remove(filepath.Join(dir, "app")))
	must(t, os.WriteFile(filepath.Join(dir, "app"), []byte("no program"), 0o700))
	if _, err := instance.Dial(e).Restart(within.Context(t)); !apperr.Is(err, apperr.NotExecutable) {
		t.Errorf("Restart = %v", err)
	}
	if err := r.failed(); !apperr.Is(err, apperr.NotExecutable) {
		t.Errorf("Run = %v", err)
	}
}
