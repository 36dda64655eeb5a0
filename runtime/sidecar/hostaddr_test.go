package sidecar

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestHostAddrIsWhatWasGivenOrOneOfOurs(t *testing.T) {
	t.Parallel()
	if got, want := hostAddr("10.1.2.3"), netip.MustParseAddr("10.1.2.3"); got != want {
		t.Errorf("hostAddr(10.1.2.3) = %v", got)
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	got := hostAddr("no address")
	if got.IsValid() && !slices.ContainsFunc(ours, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr() == got
	}) {
		t.Errorf("hostAddr = %v, which is none of %v", got, ours)
	}
}
