package meshtest_test

import (
	"os"
	"strings"
	"testing"
)

func TestAppsFindEachOtherWithNothingButLoopback(t *testing.T) {
	t.Parallel()
	m := alone(t)
	m.app("orders")
	_, door := m.caller("web")
	if r := door.get("/v1.0/invoke/orders/method/a?b=c"); r.echo().Path != "/a?b=c" {
		t.Errorf("through the door: %v", r)
	}
	_, report := m.invoke("orders", "a")
	says(t, report, "found by local", "127.0.0.1:", "/ns/default/orders")
}

func TestAppsFindEachOtherByMulticastAlone(t *testing.T) {
	t.Parallel()
	m := alone(t)
	p := m.app("orders", "--discovery", "mdns")
	if said := p.said(); !strings.Contains(said, "found by mdns\n") {
		t.Errorf("the ready line does not name its only source: %s", said)
	}
	_, door := m.caller("web", "--discovery", "mdns", "--hold", "100ms")
	if r := door.reach("/v1.0/invoke/orders/method/a"); !r.ok() {
		t.Errorf("through the door: %v", r)
	}
	_, report := m.reach("orders", "a", "--discovery", "mdns")
	says(t, report, "found by mdns", "127.0.0.1:", "/ns/default/orders")
	p.stop()
	if r := door.get("/v1.0/invoke/orders/method/a"); r.ok() {
		t.Errorf("an app that has said goodbye was called: %v", r)
	}
}

// A goodbye is the last word: whoever believed what is said after it would keep
// an instance that nobody takes back.
func TestAfterItsGoodbyeAnAppIsFoundByNobody(t *testing.T) {
	t.Parallel()
	m := alone(t)
	if err := os.WriteFile(m.gateFile(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := m.app("orders", "--discovery", "mdns", "--grace", "1h")
	_, door := m.caller("web", "--discovery", "mdns")
	if r := door.reach("/v1.0/invoke/orders/method/a"); !r.ok() {
		t.Fatalf("before: %v", r)
	}
	held := make(chan response, 1)
	go func() { held <- door.call("GET", "/v1.0/invoke/orders/method/gate", "held", nil) }()
	until(t, "orders has the call", func() bool { return len(m.recorded()["held"]) > 0 })
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	until(t, "nobody finds orders", func() bool {
		return m.pillion("invoke", "orders", "a", "--discovery", "mdns", "--hold", "2s").status == 70
	})
	if err := os.Remove(m.gateFile()); err != nil {
		t.Fatal(err)
	}
	if r := <-held; !r.ok() {
		t.Errorf("the call that it had: %v", r)
	}
	p.stop()
}

// The runtime folder shows nothing of an app that has another one.
func TestAppsOfAnotherRuntimeFolderAreFoundByMulticast(t *testing.T) {
	t.Parallel()
	m := alone(t)
	m.app("orders")
	other := m.beside()
	if all := other.list(); len(all) != 0 {
		t.Fatalf("the other folder lists %v", all)
	}
	_, report := other.reach("orders", "a")
	says(t, report, "found by mdns")
	_, door := other.caller("web")
	if r := door.reach("/v1.0/invoke/orders/method/a"); !r.ok() {
		t.Errorf("through the door: %v", r)
	}
	_, blind := other.caller("shop", "--discovery", "local", "--hold", "100ms")
	if r := blind.get("/v1.0/invoke/orders/method/a"); r.ok() {
		t.Errorf("without multicast: %v, want it not found", r)
	}
}

func TestAnotherProgramMayHoldThePortOfMulticast(t *testing.T) {
	t.Parallel()
	m := alone(t)
	c := m.command(t.Context(), []string{roleEnv + "=occupy"}, os.Args[0])
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() }) // the program ends with it
	start(t, c).await("ready")
	p := m.app("orders")
	_, report := m.invoke("orders", "a")
	says(t, report, "found by local")
	for range 3 {
		m.invoke("orders", "a")
	}
	if n := strings.Count(p.said(), "5353"); n != 1 {
		t.Errorf("%d lines name the port, want one warning:\n%s", n, p.said())
	}
	p.stop()
	if n := strings.Count(p.said(), "5353"); n != 1 {
		t.Errorf("%d lines name the port in the end, want one warning:\n%s", n, p.said())
	}
}
