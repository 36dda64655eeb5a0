package meshtest_test

import (
	"fmt"
	"testing"
)

func TestTenInstancesShareTheCalls(t *testing.T) {
	t.Parallel()
	const instances, calls, least, most = 10, 10_000, 700, 1_300
	m := newMachine(t)
	var all []*process
	for i := range instances {
		all = append(all, m.begin(appSpec{id: "orders", name: fmt.Sprint("n", i)}))
	}
	for _, p := range all {
		p.ready()
	}
	_, door := m.caller("web")
	share := map[string]int{}
	for range calls {
		r := door.get("/v1.0/invoke/orders/method/a")
		if !r.ok() {
			t.Fatalf("call: %v", r)
		}
		share[r.echo().Name]++
	}
	if len(share) != instances {
		t.Errorf("%d instances were called, want %d", len(share), instances)
	}
	for name, n := range share {
		if n < least || n > most {
			t.Errorf("%s got %d of %d calls, want between %d and %d", name, n, calls, least, most)
		}
	}
}
