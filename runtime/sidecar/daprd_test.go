//go:build unix

package sidecar_test

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
)

// asDaprd is what `pillion sidecar` makes of a command line.
func asDaprd(t *testing.T, flags config.Given) config.Sidecar {
	t.Helper()
	given := config.Given{
		"app-id": {"app"}, "dapr-http-port": {"0"}, "dapr-grpc-port": {"0"}, "dapr-listen-addresses": {"127.0.0.1"},
		"dapr-internal-grpc-listen-address": {"127.0.0.1"}, "enable-metrics": {"false"},
	}
	maps.Copy(given, flags)
	cfg, err := config.ResolveSidecar(given, func(string) string { return "" }, config.File{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// initialised waits until the sidecar says that it runs, and returns its entry.
func (p *place) initialised(r *run) rundir.Entry {
	p.t.Helper()
	r.awaitOutput("dapr initialized. Status: Running.")
	for _, e := range p.entries() {
		if e.App == "app" {
			return e
		}
	}
	p.t.Fatal("it has no entry")
	return rundir.Entry{}
}

// Not parallel: nothing else may start or end goroutines meanwhile.
func TestNothingOfADaprdIsLeftInTheProcess(t *testing.T) { //nolint:paralleltest // see above
	p := newPlace(t)
	once := func() {
		r := p.start("", asDaprd(t, config.Given{"enable-api-logging": {"true"}}))
		e := p.initialised(r)
		answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(e.HTTPPort)) + "/v1.0/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close() // read to its end
		http.DefaultClient.CloseIdleConnections()
		r.stop()
		if exit := r.end(); exit != 0 || answer.StatusCode != http.StatusNoContent {
			t.Errorf("exit %d, healthz %d", exit, answer.StatusCode)
		}
	}
	once() // what the first one starts for good is not a leak
	before := runtime.NumGoroutine()
	once()
	for limit := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(limit) {
			all := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), all[:runtime.Stack(all, true)])
		}
	}
}

func TestASecondDaprdTakesNoSocketFromTheFirst(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir, err := os.MkdirTemp("", "socks") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := asDaprd(t, config.Given{"unix-domain-socket": {dir}})
	first := p.start("", cfg)
	p.initialised(first)
	second := p.start("", cfg)
	if err := second.failed(); err == nil || !strings.Contains(err.Error(), "dapr-app-") {
		t.Errorf("the second one: %v", err)
	}
	for _, name := range []string{"dapr-app-http.socket", "dapr-app-grpc.socket"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("the first one's socket: %v", err)
		}
	}
	first.stop()
	first.end()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestASocketsPathThatIsTooLongIsSaid(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start("", asDaprd(t, config.Given{"unix-domain-socket": {"/tmp/" + strings.Repeat("x", 100)}}))
	if err := r.failed(); err == nil || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("%v", err)
	}
}

// Of several addresses those that are not this machine's are left out, as long
// as there is another one.
func TestAddressesThatAreNotHereAreLeftOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start("", asDaprd(t, config.Given{"dapr-listen-addresses": {"192.0.2.1,127.0.0.1"}}))
	e := p.initialised(r)
	if !strings.Contains(r.output(), `msg="HTTP server listening on TCP address: 127.0.0.1:`+strconv.Itoa(int(e.HTTPPort))) {
		t.Errorf("it says\n%s", r.output())
	}
	if !strings.Contains(r.output(), `level=warning msg="not listening on an address" address=192.0.2.1`) {
		t.Errorf("the address that is not here is not named:\n%s", r.output())
	}
	none := p.start("", asDaprd(t, config.Given{"app-id": {"none"}, "dapr-listen-addresses": {"192.0.2.1"}}))
	if err := none.failed(); err == nil {
		t.Error("it runs without a port")
	}
}
