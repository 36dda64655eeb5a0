package meshtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
)

func TestAKilledPeerIsGoneAtTheNextCall(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	victim := m.app("orders")
	other := m.start(appSpec{id: "orders", name: "other"})
	_, door := m.caller("web")
	seen := map[string]bool{}
	until(t, "both instances have answered", func() bool {
		seen[door.get("/v1.0/invoke/orders/method/a").echo().Name] = true
		return len(seen) == 2
	})
	victim.kill()
	for range 20 {
		if r := door.get("/v1.0/invoke/orders/method/a"); r.echo().Name != "other" {
			t.Fatalf("a call after the death of one instance: %v", r)
		}
	}
	if all := m.instances("orders"); len(all) != 1 || all[0].PID != other.pid() {
		t.Errorf("listed: %+v", all)
	}
}

func TestACalleeMayBeStoppedAndStartedBetweenCalls(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	_, door := m.caller("web")
	for n := range 3 {
		p := m.start(appSpec{id: "orders", name: fmt.Sprint("n", n)})
		if r := door.get("/v1.0/invoke/orders/method/a"); r.echo().Name != fmt.Sprint("n", n) {
			t.Errorf("round %d: %v", n, r)
		}
		p.stop()
	}
	if all := m.instances("orders"); len(all) != 0 {
		t.Errorf("listed: %+v", all)
	}
}

// An app that has answered before is waited for.
func TestACallerWaitsForAnAppItKnows(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	_, door := m.caller("web", "--hold", "1m")
	p := m.app("orders")
	if r := door.get("/v1.0/invoke/orders/method/a"); !r.ok() {
		t.Fatalf("the first call: %v", r)
	}
	p.stop()
	answer := make(chan response, 1)
	go func() { answer <- door.call("POST", "/v1.0/invoke/orders/method/a", "early", strings.NewReader("x")) }()
	m.app("orders")
	if r := within.Receive(t, answer); !r.ok() {
		t.Errorf("a call made before its callee had started: %v", r)
	}
	if got := m.recorded()["early"]; len(got) != 1 {
		t.Errorf("the call was done by %v", got)
	}
}

// Calls to an app that has its sidecar and no open port yet are held by its
// sidecar, and then let through to it, each once.
func TestCallsAreHeldWhileAnAppStarts(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	_, door := m.caller("web")
	sign := filepath.Join(m.dir, "open")
	p := m.begin(appSpec{id: "orders", env: []string{lateEnv + "=" + sign}})
	until(t, "the app is listed", func() bool { return len(m.instances("orders")) == 1 })
	if got := m.instances("orders")[0].Status; got != "starting" {
		t.Errorf("status %q, want starting", got)
	}
	const calls = 10
	answers := make(chan response, calls)
	for n := range calls {
		go func() {
			answers <- door.call("POST", "/v1.0/invoke/orders/method/a", fmt.Sprint("held", n), strings.NewReader("x"))
		}()
	}
	if err := os.WriteFile(sign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range calls {
		if r := within.Receive(t, answers); !r.ok() {
			t.Errorf("a held call: %v", r)
		}
	}
	p.ready()
	for id, names := range m.recorded() {
		if len(names) != 1 {
			t.Errorf("call %s was done by %v", id, names)
		}
	}
}

func TestAnUnknownNameIsAnsweredWithTheNearestOne(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.app("notify-service")
	_, door := m.caller("web", "--resolve-timeout", "1h", "--hold", "1h") // it does not wait
	r := door.get("/v1.0/invoke/notification-service/method/a")
	message, meta := r.failure()
	for _, want := range []string{"couldn't find service: notification-service", "did you mean notify-service?"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message %q does not say %q", message, want)
		}
	}
	if r.status != 500 || meta["reached"] != "no" {
		t.Errorf("the answer: %v", r)
	}
	if r := m.pillion("invoke", "notify-servise", "a"); r.status != 70 || !strings.Contains(r.err, "notify-service") {
		t.Errorf("pillion invoke: %v", r)
	}
}
