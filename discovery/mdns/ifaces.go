package mdns

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"slices"
)

var errNoLoopback = errors.New("there is no loopback interface that is up")

// An iface is a network interface multicast is sent to.
type iface struct {
	net.Interface
	addrs []netip.Addr // what others reach this machine by, best first
}

// loopback returns the interface that leads nowhere else.
func loopback() (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 && i.Flags&net.FlagUp != 0 {
			return &i, nil
		}
	}
	return nil, errNoLoopback
}

// lanInterfaces are those with a network behind them where neighbours may
// answer. A point-to-point link, as most VPNs are, has no neighbours: the
// default route may lead into one, and nothing is sent there.
func lanInterfaces() ([]iface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	const want = net.FlagUp | net.FlagMulticast
	const not = net.FlagLoopback | net.FlagPointToPoint
	var lan []iface
	for _, i := range all {
		if i.Flags&want != want || i.Flags&not != 0 {
			continue
		}
		if addrs := addressesOf(i); slices.ContainsFunc(addrs, netip.Addr.Is4) {
			lan = append(lan, iface{i, addrs})
		}
	}
	return lan, nil
}

func addressesOf(i net.Interface) []netip.Addr {
	found, err := i.Addrs()
	if err != nil {
		return nil // it went away meanwhile
	}
	var addrs []netip.Addr
	for _, a := range found {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(ipnet.IP)
		// A link-local address of version 6 needs the reader's own name for
		// the link, which nobody can tell from here.
		if addr = addr.Unmap(); ok && (addr.Is4() || !addr.IsLinkLocalUnicast()) {
			addrs = append(addrs, addr)
		}
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	return addrs
}

// rank puts first what is most likely to work on a LAN.
func rank(a netip.Addr) int {
	switch {
	case a.Is4() && !a.IsLinkLocalUnicast():
		return 0
	case a.Is6():
		return 1
	}
	return 2
}

// addressesOfAll are the addresses of all interfaces, best first.
func addressesOfAll(lan []iface) []netip.Addr {
	var addrs []netip.Addr
	for _, i := range lan {
		addrs = append(addrs, i.addrs...)
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	return addrs
}

// onLAN turns the addresses an instance listens on into those other machines
// reach it at: its own where it chose some, else those of the machine now.
func onLAN(listening []netip.AddrPort, machine []netip.Addr) []netip.AddrPort {
	var chosen []netip.AddrPort
	var port uint16
	for _, a := range listening {
		if !a.Addr().IsLoopback() && !a.Addr().IsUnspecified() {
			chosen = append(chosen, a)
		}
		port = cmp.Or(port, a.Port())
	}
	if len(chosen) > 0 || port == 0 {
		return chosen
	}
	for _, addr := range machine {
		chosen = append(chosen, netip.AddrPortFrom(addr, port))
	}
	return chosen
}
