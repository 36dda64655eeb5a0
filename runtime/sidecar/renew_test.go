//go:build unix

package sidecar_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/instance"
)

// call calls the app through its own door and returns the answer's body. A POST
// is not sent again by anybody.
func call(e rundir.Entry, path string) string {
	answer, err := http.Post("http://127.0.0.1:"+strconv.Itoa(int(e.HTTPPort))+"/v1.0/invoke/app/method"+path, "", nil)
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	return string(body) + errText(err)
}

// entry is the app's, as others read it now.
func (p *place) entry() rundir.Entry {
	p.t.Helper()
	for _, e := range p.entries() {
		if e.App == "app" {
			return e
		}
	}
	p.t.Fatal("it has no entry")
	return rundir.Entry{}
}

// kept is the last run of an app in the logs, with its lines.
func (p *place) kept(name string) (run logs.RunInfo, lines string) {
	p.t.Helper()
	store, err := logs.Open(p.home.Logs(), logs.Limits{})
	must(p.t, err)
	runs, err := store.Runs(logs.App{Namespace: "default", Name: name})
	must(p.t, err)
	run = runs[len(runs)-1]
	must(p.t, store.Read(within.Context(p.t), logs.Query{Runs: []logs.RunInfo{run}}, func(l logs.Line) error {
		lines += string(l.Text) + "\n"
		return nil
	}))
	return run, lines
}

// countNotices is how many sentences hold text, facts included.
func (r *run) countNotices(text string) int {
	n := 0
	for _, notice := range r.notices() {
		n += strings.Count(notice.String(), text)
	}
	return n
}

func TestAnAppThatFailsIsStartedAgainAndCallsWaitForIt(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "flaky"), nil, 0o600))
	port := porttest.Reserve(t)
	r := p.start(actFlaky, config.Sidecar{Dir: dir, AppPort: port.Number(), Restart: config.RestartOnFailure})
	e := p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "flaky"), []byte("xx"), 0o600))
	if got := call(e, "/crash"); !strings.Contains(got, "closed the connection") {
		t.Errorf("the call that ended the app got %q", got)
	}
	r.awaitNotice("ended") // a process on its way out may still take a connection
	if got := call(e, "/pid"); got == strconv.Itoa(e.AppPID) || strings.ContainsAny(got, " {") {
		t.Errorf("the call behind it got %q", got)
	}
	r.awaitNotice("restarted")
	now := p.entry()
	if now.State != string(discovery.Ready) || now.AppPID == e.AppPID || r.countNotices("starting it again in") != 3 {
		t.Errorf("the entry is %+v, it says %v", now, r.notices())
	}
	r.stop()
	if exit := r.end(); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

func TestAnAppThatEndsAgainAndAgainIsLeftAlone(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "flaky"), []byte(strings.Repeat("x", 100)), 0o600))
	r := p.start(actFlaky, config.Sidecar{Dir: dir, AppPortAuto: true, Restart: config.RestartAlways})
	if exit := r.end(); exit != 3 {
		t.Errorf("exit %d, want the app's", exit)
	}
	last, _ := r.notice("again and again")
	if r.countNotices("starting it again in") != 5 || len(last.Lines) != 1 || last.Lines[0] != "flaky" {
		t.Errorf("it says %v with %q", r.notices(), last.Lines)
	}
	if got := strings.Count(r.output(), "flaky"); got != 6 {
		t.Errorf("it was started %d times", got)
	}
}

func TestAnAppThatEndsWellIsStartedAgainOnlyIfAlways(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actEnviron, config.Sidecar{Restart: config.RestartOnFailure})
	if exit := r.end(); exit != 0 || r.countNotices("again") != 0 {
		t.Errorf("exit %d, it says %v", exit, r.notices())
	}
	r = p.start(actEnviron, config.Sidecar{Restart: config.RestartAlways})
	if exit := r.end(); exit != 0 || r.countNotices("starting it again in") != 5 {
		t.Errorf("exit %d, it says %v", exit, r.notices())
	}
}

// Whoever asked before has its answer of the old process; whoever asks
// meanwhile has it of the new one.
func TestARestartFailsNoCall(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actServe, config.Sidecar{AppPortAuto: true})
	e := p.ready(r, "app")
	before, after, restarted := make(chan string, 1), make(chan string, 1), make(chan error, 1)
	go func() { before <- call(e, "/hold") }()
	r.awaitOutput("holding")
	go func() {
		_, err := instance.Dial(e).Restart(within.Context(t))
		restarted <- err
	}()
	within.Until(t, "the entry to say that it restarts", func() bool { return p.entry().State == string(discovery.Restarting) })
	go func() { after <- call(e, "/pid") }()
	if strings.Contains(r.output(), "SIGTERM") {
		t.Error("the app was told to end while it had a call")
	}
	_, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(e.AppPort)) + "/release")
	must(t, err)
	if got := within.Receive(t, before); got != "held" {
		t.Errorf("the call under way got %q", got)
	}
	if err := within.Receive(t, restarted); err != nil {
		t.Errorf("Restart = %v", err)
	}
	now := p.entry()
	if got := within.Receive(t, after); got != strconv.Itoa(now.AppPID) || now.AppPID == e.AppPID {
		t.Errorf("the call meanwhile got %q; the old one was %d, the new one %d", got, e.AppPID, now.AppPID)
	}
	if now.Restarts != 1 || now.AppPort != e.AppPort {
		t.Errorf("the entry is %+v", now)
	}
	if err := syscall.Kill(e.AppPID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the old process: %v", err)
	}
}

func TestASidecarAloneRestartsNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start("", config.Sidecar{})
	r.awaitNotice("is up")
	if _, err := instance.Dial(p.entry()).Restart(within.Context(t)); !apperr.Is(err, apperr.Usage) {
		t.Errorf("Restart = %v", err)
	}
}

func TestTheAppIsBuiltBeforeItIsStarted(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Build: "echo making > made; cat made"})
	e := p.ready(r, "app")
	if made, err := os.ReadFile(filepath.Join(dir, "made")); string(made) != "making\n" {
		t.Errorf("the build made %q, %v", made, err)
	}
	if _, told := r.notice("building app"); !told || !strings.Contains(r.output(), "making\n") {
		t.Errorf("it says %v\n%s", r.notices(), r.output())
	}
	must(t, os.WriteFile(filepath.Join(dir, "made"), nil, 0o400))
	if _, err := instance.Dial(e).Restart(within.Context(t)); err != nil {
		t.Logf("Restart = %v", err) // root may write it all the same
	}
}

func TestWhatCannotBeBuiltIsNotRun(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(actServe, config.Sidecar{AppPortAuto: true, Build: "echo some words; echo 'main.go:3:1: no'; echo more; exit 2"})
	err := r.failed()
	if !apperr.Is(err, apperr.NotExecutable) || !strings.Contains(apperr.From(err).Cause, "main.go:3:1: no") {
		t.Errorf("Run = %v, cause %q", err, apperr.From(err).Cause)
	}
	if strings.Contains(r.output(), "guard") || len(p.entries()) != 0 {
		t.Errorf("it ran:\n%s%v", r.output(), p.entries())
	}
	if n := r.countNotices("the build failed"); n != 0 {
		t.Errorf("what Run returns is said %d times more", n)
	}
	if run, kept := p.kept("app"); run.State != logs.Ended || strings.Count(kept, "✗ the build failed: exit 2; cause: main.go:3:1: no") != 1 {
		t.Errorf("the log's run is %+v\n%s", run, kept)
	}
}

// The command may be what the build makes.
func TestWhatIsRunMayBeWhatIsBuilt(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	self, err := os.Executable()
	must(t, err)
	p.built(dir, "ln -sf "+self+" app").awaitNotice("is ready")
	if err := p.built(t.TempDir(), "true").failed(); !apperr.Is(err, apperr.CommandNotFound) {
		t.Errorf("without a program: %v", err)
	}
}

// A failed build leaves the old process where it is, and says so until one
// succeeds.
func TestAFailedBuildKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Build: "test ! -e broken || { echo broken; exit 1; }"})
	e := p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	_, err := instance.Dial(e).Restart(within.Context(t))
	if !apperr.Is(err, apperr.NotExecutable) {
		t.Errorf("Restart = %v", err)
	}
	now := p.entry()
	if now.Stale != "the build failed: exit 1: broken" || now.StaleSince.IsZero() || now.AppPID != e.AppPID {
		t.Errorf("the entry is %+v", now)
	}
	r.awaitNotice("STALE")
	if got := call(e, "/pid"); got != strconv.Itoa(e.AppPID) {
		t.Errorf("a call got %q", got)
	}
	must(t, os.Remove(filepath.Join(dir, "broken")))
	if _, err := instance.Dial(e).Restart(within.Context(t)); err != nil {
		t.Errorf("Restart = %v", err)
	}
	if now = p.entry(); now.Stale != "" || !now.StaleSince.IsZero() || now.AppPID == e.AppPID {
		t.Errorf("the entry is %+v", now)
	}
}

// A crash has the program of the last build that worked started again.
func TestACrashMakesNothingNewer(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	r := p.start(actServe, config.Sidecar{
		Dir: dir, AppPortAuto: true, Restart: config.RestartOnFailure, Build: "test ! -e broken || { echo broken; exit 1; }",
	})
	e := p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	if _, err := instance.Dial(e).Restart(within.Context(t)); err == nil {
		t.Error("Restart = nil")
	}
	call(e, "/crash")
	r.awaitNotice("restarted")
	if now := p.entry(); now.Stale == "" || now.AppPID == e.AppPID {
		t.Errorf("the entry is %+v", now)
	}
}

// Whatever is under way ends with the sidecar.
func TestStoppingEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act   string
		cfg   config.Sidecar
		until func(p *place, r *run)
		exit  int
	}{
		"a build": {
			actServe,
			config.Sidecar{AppPortAuto: true, Build: "echo building; exec sleep 1000"},
			func(_ *place, r *run) { r.awaitOutput("building") }, 0,
		},
		"a pause": {
			actFail,
			config.Sidecar{AppPortAuto: true, Restart: config.RestartAlways},
			func(_ *place, r *run) { // the longest one
				r.await("the last pause", func() bool { return r.countNotices("5 of 5") == 1 })
			}, 3,
		},
		"a restart": {actDeaf, config.Sidecar{AppPortAuto: true}, func(p *place, r *run) {
			e := p.ready(r, "app")
			restarted := make(chan error, 1)
			go func() {
				_, err := instance.Dial(e).Restart(within.Context(p.t))
				restarted <- err
			}()
			p.t.Cleanup(func() {
				if err := within.Receive(p.t, restarted); err == nil {
					p.t.Error("Restart = nil, although it was stopped meanwhile")
				}
			})
			r.awaitOutput("SIGTERM")
		}, 137},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			r := p.start(c.act, c.cfg)
			c.until(p, r)
			r.stop()
			if name == "a restart" {
				r.awaitNotice("stopping app")
				close(r.hurry)
			}
			if exit := r.end(); exit != c.exit || len(p.entries()) != 0 {
				t.Errorf("exit %d, it says\n%s%v%v", exit, r.output(), r.notices(), p.entries())
			}
		})
	}
}

// builtApp is a command that its build makes.
const builtApp = "./app"

// built runs the app of a folder, which is built first.
func (p *place) built(dir, build string) *run {
	return p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Build: build, Command: []string{builtApp}})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watchedFolder is a folder with a source file, and how to change that.
func watchedFolder(t *testing.T) (dir string, change func()) {
	t.Helper()
	dir = t.TempDir()
	n := 0
	change = func() {
		n++
		must(t, os.WriteFile(filepath.Join(dir, "main.txt"), []byte(strings.Repeat("x", n)), 0o600))
	}
	change()
	return dir, change
}

// An app that is told its port is replaced by one that is ready already: the old
// one answers the calls it has.
func TestAChangeOfItsSourcesReplacesAnAppThatIsToldItsPort(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"."}})
	e := p.ready(r, "app")
	before := make(chan string, 1)
	go func() { before <- call(e, "/hold") }()
	r.awaitOutput("holding")
	change()
	r.awaitNotice("restarted")
	r.awaitNotice("main.txt changed")
	now := p.entry()
	if now.AppPID == e.AppPID || now.AppPort == e.AppPort || now.State != string(discovery.Ready) {
		t.Errorf("the entry is %+v", now)
	}
	if got := call(e, "/pid"); got != strconv.Itoa(now.AppPID) {
		t.Errorf("a call got %q", got)
	}
	if strings.Contains(r.output(), "SIGTERM") {
		t.Error("the old one was told to end while it had a call")
	}
	_, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(e.AppPort)) + "/release")
	must(t, err)
	if got := within.Receive(t, before); got != "held" {
		t.Errorf("the call under way got %q", got)
	}
	within.Until(t, "the old one to end", func() bool { return errors.Is(syscall.Kill(e.AppPID, 0), syscall.ESRCH) })
	r.stop()
	if exit := r.end(); exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

// Whoever chooses the port itself cannot be there twice: calls wait for the new
// one.
func TestAChangeOfItsSourcesReplacesAnAppInItsPlace(t *testing.T) {
	t.Parallel()
	p, port := newPlace(t), porttest.Reserve(t)
	dir, change := watchedFolder(t)
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPort: port.Number(), Watch: []string{"main.txt"}})
	e := p.ready(r, "app")
	answers := make(chan string)
	stop := make(chan struct{})
	go func() {
		defer close(answers)
		for {
			select {
			case answers <- call(e, "/pid"):
			case <-stop:
				return
			}
		}
	}()
	seen := map[string]bool{}
	for restarts := range 3 {
		change()
		within.Until(t, "another process", func() bool {
			got := within.Receive(t, answers)
			if _, err := strconv.Atoi(got); err != nil {
				t.Fatalf("a call got %q", got)
			}
			seen[got] = true
			return len(seen) > restarts+1
		})
	}
	close(stop)
	if len(seen) != 4 {
		t.Errorf("answers of %v", seen)
	}
}

// A new one that does not get ready never has a call.
func TestANewProcessThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actFlaky, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"}})
	e := p.ready(r, "app")
	must(t, os.WriteFile(filepath.Join(dir, "flaky"), []byte("x"), 0o600))
	change()
	r.awaitNotice("STALE")
	if now := p.entry(); !strings.Contains(now.Stale, "exit 3") || now.AppPID != e.AppPID {
		t.Errorf("the entry is %+v", now)
	}
	if got := call(e, "/pid"); got != strconv.Itoa(e.AppPID) {
		t.Errorf("a call got %q", got)
	}
	change()
	r.awaitNotice("restarted")
	if now := p.entry(); now.Stale != "" || call(e, "/pid") != strconv.Itoa(now.AppPID) {
		t.Errorf("the entry is %+v", now)
	}
}

// What has ended waits for a change; whoever calls it meanwhile is told so at
// once.
func TestAnAppThatHasEndedWaitsForAChange(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actServe, config.Sidecar{Dir: dir, AppPortAuto: true, Watch: []string{"."}})
	e := p.ready(r, "app")
	call(e, "/crash")
	r.await("that it waits", func() bool { return r.countNotices("waiting for a change") == 1 })
	if got := call(e, "/pid"); !strings.Contains(got, "does not run and waits for a change of its files") {
		t.Errorf("a call got %q", got)
	}
	within.Until(t, "the entry to say so", func() bool { return p.entry().State == string(discovery.Unhealthy) })
	if now := p.entry(); now.AppPID != 0 {
		t.Errorf("the entry is %+v", now)
	}
	change()
	r.awaitNotice("restarted")
	if got := call(e, "/pid"); got != strconv.Itoa(p.entry().AppPID) {
		t.Errorf("a call got %q", got)
	}
}

// What changes while it is built is built next.
func TestAChangeDuringABuildIsNotLost(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actServe, config.Sidecar{
		Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"},
		Build: "cat main.txt; echo; if grep -qx xx main.txt; then echo slow; until test -e go; do sleep 0.01; done; fi",
	})
	p.ready(r, "app")
	change() // xx
	r.awaitOutput("slow")
	change() // xxx
	must(t, os.WriteFile(filepath.Join(dir, "go"), nil, 0o600))
	r.awaitOutput("xxx\n")
	r.awaitNotice("app restarted")
	if n := strings.Count(r.output(), "xxx\n"); n != 1 {
		t.Errorf("it was built %d times of what was changed last:\n%s", n, r.output())
	}
}

// A build of what is old already is not waited for.
func TestASavedSourceCutsABuildOff(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, change := watchedFolder(t)
	r := p.start(actServe, config.Sidecar{
		Dir: dir, AppPortAuto: true, Watch: []string{"main.txt"},
		Build: "cat main.txt; echo; if grep -qx xx main.txt; then echo slow; exec sleep 1000; fi",
	})
	p.ready(r, "app")
	change() // xx
	r.awaitOutput("slow")
	change() // xxx
	r.awaitOutput("xxx\n")
	r.awaitNotice("app restarted")
	if n := r.countNotices("building app"); n != 3 {
		t.Errorf("it was built %d times, want 3:\n%s", n, r.output())
	}
}
