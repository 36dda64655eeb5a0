//go:build unix

package sidecar_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/runtime/config"
)

// hold listens on a port of loopback for as long as the test lasts; on any free
// one for 0.
func hold(t *testing.T, port uint16) (uint16, error) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:"+strconv.Itoa(int(port)))
	if err != nil {
		return port, err
	}
	t.Cleanup(func() { _ = ln.Close() })
	return uint16(ln.Addr().(*net.TCPAddr).Port), nil
}

func TestTheDoorIsTheNextFreeOneIfDaprsPortIsTaken(t *testing.T) {
	t.Parallel()
	_, err := hold(t, 3500)
	held := err == nil // else somebody has it, who may leave
	p := newPlace(t)
	r := p.start("", config.Sidecar{})
	r.awaitNotice("sidecar is up")
	port := p.entries()[0].HTTPPort
	if port < 3500 || held && port == 3500 || port >= 3600 {
		t.Errorf("the door is %d, want one soon after 3500", port)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		answer, err := http.Get("http://" + host + ":" + strconv.Itoa(int(port)) + "/v1.0/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			t.Errorf("%s answers %s", host, answer.Status)
		}
	}
}

func TestAPortThatWasAskedForAndIsTakenNamesItsHolder(t *testing.T) {
	t.Parallel()
	taken, err := hold(t, 0)
	if err != nil {
		t.Fatal(err)
	}
	for flag, cfg := range map[string]config.Sidecar{
		"--dapr-http-port":          {HTTPPort: taken},
		"--dapr-grpc-port":          {GRPCPort: taken},
		"--dapr-internal-grpc-port": {MeshPort: taken},
		"--profile-port":            {Profiling: true, ProfilePort: taken},
	} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			err := p.start(actServe, cfg).failed()
			var e *apperr.Error
			if !errors.As(err, &e) || e.Reason != apperr.PortTaken {
				t.Fatalf("Run = %v, want PORT_TAKEN", err)
			}
			if want := "port " + strconv.Itoa(int(taken)) + " is taken"; e.What != want {
				t.Errorf("it says %q, want %q", e.What, want)
			}
			if pid := strconv.Itoa(os.Getpid()); !strings.Contains(e.Cause, "pid "+pid) {
				t.Errorf("the cause is %q, want process %s", e.Cause, pid)
			}
			if !strings.Contains(e.Hint, flag) {
				t.Errorf("the hint is %q, want %s", e.Hint, flag)
			}
			if left := p.entries(); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestAPortThatAnAppOfOursHoldsNamesTheApp(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first := p.start("", config.Sidecar{AppID: "old-api"})
	first.awaitNotice("sidecar is up")
	err := p.start(actServe, config.Sidecar{AppID: "new-api", HTTPPort: p.entries()[0].HTTPPort}).failed()
	var e *apperr.Error
	if !errors.As(err, &e) || !strings.Contains(e.Cause, "old-api of ") || !strings.Contains(e.Hint, "pillion stop old-api") {
		t.Errorf("Run = %+v, want the holder and how to stop it", e)
	}
}

// Not parallel: what another test starts has our sockets for a moment, between
// its fork and its exec.
func TestPortsAreFreeAgainOnceRunHasReturned(t *testing.T) { //nolint:paralleltest // see above
	p := newPlace(t)
	// Ports that no other sidecar takes as soon as they are free.
	port := func() uint16 { return porttest.Reserve(t).Number() }
	r := p.start(actServe, config.Sidecar{HTTPPort: port(), GRPCPort: port(), MeshPort: port(), AppPort: port()})
	e := p.ready(r, "app")
	r.stop()
	if exit := r.end(); exit != 0 {
		t.Errorf("exit %d", exit)
	}
	for _, port := range []uint16{e.HTTPPort, e.GRPCPort, e.Mesh[0].Port(), e.AppPort} {
		if _, err := hold(t, port); err != nil {
			t.Errorf("port %d: %v", port, err)
		}
	}
	if left := p.entries(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
