package sidecar

import "testing"

// Apps that are started at once, by whichever pillion, get ports of their own
// before any of them has opened its port.
func TestPortsForAppsDiffer(t *testing.T) {
	t.Parallel()
	given := map[uint16]bool{}
	for range 400 { // of 10,000: by chance alone, eight would be given twice
		port, claim, err := freePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = claim.Close() })
		if given[port] {
			t.Fatalf("port %d is given twice", port)
		}
		given[port] = true
	}
}

// A port that is given back may be claimed again.
func TestAClaimEnds(t *testing.T) {
	t.Parallel()
	port, claim, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := claimPort(t.Context(), port); ok {
		t.Errorf("port %d is claimed twice", port)
	}
	if err := claim.Close(); err != nil {
		t.Fatal(err)
	}
	again, ok := claimPort(t.Context(), port)
	if !ok {
		t.Fatalf("port %d is still claimed", port)
	}
	_ = again.Close()
}
