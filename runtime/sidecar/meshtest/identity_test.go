package meshtest_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
)

// Who calls is told by its certificate, whatever it says of itself.
func TestAClientCannotSayWhoItIs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.app("orders")
	_, door := m.caller("web")
	r := door.call("GET", "/v1.0/invoke/orders/method/a", "1", nil,
		"Dapr-Caller-App-Id", "boss", "Dapr-Caller-Namespace", "palace", "Dapr-Callee-App-Id", "throne",
		"Pillion-Identity", "spiffe://public/ns/default/boss", "X-Other", "kept")
	got := r.echo().Headers
	for name, want := range map[string]string{
		"Dapr-Caller-App-Id": "web", "Dapr-Caller-Namespace": "default", "Dapr-Callee-App-Id": "orders", "X-Other": "kept",
	} {
		if values := got.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s is %q, want %q", name, values, want)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "Pillion-") {
			t.Errorf("the app got %s", name)
		}
	}
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.app("orders", "--namespace", "blue")
	_, door := m.caller("web")
	r := door.get("/v1.0/invoke/orders/method/a")
	if message, _ := r.failure(); r.status != http.StatusInternalServerError || !strings.Contains(message, "couldn't find service: orders") {
		t.Errorf("by its bare name: %v", r)
	}
	r = door.get("/v1.0/invoke/orders.blue/method/a")
	if _, meta := r.failure(); r.status != http.StatusForbidden || meta["hop"] != "access" {
		t.Errorf("by its full name: %v", r)
	}
	m.untouched()
	_, blue := m.caller("shop", "--namespace", "blue")
	if r := blue.get("/v1.0/invoke/orders/method/a"); r.echo().Headers.Get("Dapr-Caller-Namespace") != "blue" {
		t.Errorf("from its own namespace: %v", r)
	}
	if r := m.pillion("invoke", "orders", "a"); r.status != 70 {
		t.Errorf("invoked from another namespace: %v", r)
	}
	m.invoke("orders", "a", "--namespace", "blue")
}

func TestTwoRunsOnANewHomeMakeOneAuthority(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const runs = 4
	var all []*process
	for n := range runs {
		all = append(all, m.begin(appSpec{id: fmt.Sprint("app", n)}))
	}
	for _, p := range all {
		p.ready()
	}
	if got := len(m.list()); got != runs {
		t.Errorf("%d apps are listed, want %d", got, runs)
	}
	for n, p := range all {
		if r := m.door(p).get(fmt.Sprintf("/v1.0/invoke/app%d/method/a", (n+1)%runs)); !r.ok() {
			t.Errorf("app%d calls the next one: %v", n, r)
		}
	}
	roots, err := os.ReadFile(filepath.Join(m.home, "certs", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(roots), "BEGIN CERTIFICATE"); n != 1 {
		t.Errorf("the home has %d roots", n)
	}
	if folders, err := os.ReadDir(m.run); err != nil || len(folders) != 1 {
		t.Errorf("the runtime folder has %v, want one trust domain", folders)
	}
}

// The bound holds for all callers together.
func TestAnAppGetsNoMoreCallsAtOnceThanItTakes(t *testing.T) {
	t.Parallel()
	const most, calls = 3, 20
	m := newMachine(t)
	m.app("orders", "--app-max-concurrency", fmt.Sprint(most))
	_, one := m.caller("web")
	_, two := m.caller("shop")
	if err := os.WriteFile(m.gateFile(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	answers := make(chan response, 2*calls)
	for n := range calls {
		for _, d := range []*door{one, two} {
			go func() { answers <- d.call("GET", "/v1.0/invoke/orders/method/gate", fmt.Sprint(d.url, n), nil) }()
		}
	}
	until(t, "the app has as many calls as it takes", func() bool { return len(m.recorded()) == most })
	if err := os.Remove(m.gateFile()); err != nil {
		t.Fatal(err)
	}
	var seen int64
	for range 2 * calls {
		r := within.Receive(t, answers)
		if !r.ok() {
			t.Errorf("a call: %v", r)
		}
		seen = max(seen, r.echo().Most)
	}
	if seen != most {
		t.Errorf("the app had %d calls at once, want %d", seen, most)
	}
}
