package discovery

import "net/netip"

// Reachable turns listening addresses of this machine into ones that can be
// dialled on it: the unspecified address becomes loopback.
func Reachable(listening []netip.AddrPort) []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(listening))
	for _, a := range listening {
		if a.Addr().IsUnspecified() {
			// A wildcard socket of version 6 takes version 4 too.
			a = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
		}
		addrs = append(addrs, a)
	}
	return addrs
}
