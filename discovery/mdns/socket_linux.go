package mdns

import (
	"net"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// hasHostScope is true where a socket can be kept from hearing more than it
// joined; without that there is only the runtime folder in host scope.
const hasHostScope = true

// onlyJoined keeps other programs' memberships from letting packets in: Linux
// gives a group's packets to every socket of the port otherwise.
func onlyJoined(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
}

// onlyResponses has the kernel drop questions, so that a busy office does not
// wake us. Offset 10 is the first byte of DNS flags behind the UDP header.
func (l *listener) onlyResponses() {
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 10, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x80, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err == nil {
		_ = l.p4.SetBPF(filter) // questions are dropped when they are read, then
	}
}

// serverInterfaces are those the library's server is bound to. One on
// loopback hears what our listener joins: its wildcard socket takes part in
// every membership of the machine, so it follows interfaces that come later.
func serverInterfaces([]net.Interface) ([]net.Interface, error) {
	lo, err := loopback()
	if err != nil {
		return nil, err
	}
	return []net.Interface{*lo}, nil
}
