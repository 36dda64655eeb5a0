package meshtest_test

import (
	"slices"
	"testing"
	"time"
)

// median reports the middle of what each round took.
func median(b *testing.B, what string, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, what)
	b.ReportMetric(0, "ns/op") // means nothing here
}

// BenchmarkFirstCall is the first call ever of a fresh sidecar to an app on the
// same host: found, dialled, both certificates judged, answered.
func BenchmarkFirstCall(b *testing.B) {
	m := newMachine(b)
	m.app("orders")
	var took []time.Duration
	for b.Loop() {
		p, door := m.caller("web")
		door.get("/v1.0/healthz") // the client's own connection is not what is measured
		began := time.Now()
		if r := door.get("/v1.0/invoke/orders/method/a"); !r.ok() {
			b.Fatal(r)
		}
		took = append(took, time.Since(began))
		p.stop()
	}
	median(b, "ms/first-call", took)
}

// BenchmarkNextCall is each later call, one after the other.
func BenchmarkNextCall(b *testing.B) {
	m := newMachine(b)
	m.app("orders")
	_, door := m.caller("web")
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if r := door.get("/v1.0/invoke/orders/method/a"); !r.ok() {
			b.Fatal(r)
		}
		took = append(took, time.Since(began))
	}
	median(b, "ms/call", took)
}

// BenchmarkStart is from the command to the ready line, and to the first
// answer another app gets. The home is there, the app listens at once.
func BenchmarkStart(b *testing.B) {
	m := newMachine(b)
	_, door := m.caller("web", "--hold", "30s")
	known := m.app("orders")
	if r := door.get("/v1.0/invoke/orders/method/a"); !r.ok() { // from now on it is waited for
		b.Fatal(r)
	}
	known.stop()
	var ready, answered []time.Duration
	for b.Loop() {
		began := time.Now()
		p := m.begin(appSpec{id: "orders"})
		first := make(chan time.Duration, 1)
		go func() {
			if r := door.get("/v1.0/invoke/orders/method/a"); r.ok() {
				first <- time.Since(began)
			}
			close(first)
		}()
		p.ready()
		ready = append(ready, time.Since(began))
		at, ok := <-first
		if !ok {
			b.Fatal("the first call failed")
		}
		answered = append(answered, at)
		p.stop()
	}
	median(b, "ms/ready", ready)
	median(b, "ms/answered", answered)
}
