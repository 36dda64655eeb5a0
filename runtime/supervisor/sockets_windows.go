package supervisor

import (
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Sockets lists the TCP sockets the app's tree listens on.
func (p *Process) Sockets() ([]Socket, error) {
	names := map[int]string{}
	for _, proc := range p.tree() {
		names[proc.PID] = proc.Name
	}
	all, err := listeners()
	if err != nil {
		return nil, err
	}
	var found []Socket
	for _, s := range all {
		if name, ours := names[s.PID]; ours {
			s.Name = name
			found = append(found, s)
		}
	}
	return found, nil
}

// HolderOf says which process of this machine listens on a TCP port, at
// whatever address.
func HolderOf(port uint16) (Holder, bool) {
	all, err := listeners()
	if err != nil {
		return Holder{}, false
	}
	for _, s := range all {
		if s.Addr.Port() != port {
			continue
		}
		h := Holder{PID: s.PID, UID: -1}
		for _, proc := range snapshot() {
			if proc.PID == s.PID {
				h.Name = proc.Name
			}
		}
		return h, true
	}
	return Holder{}, false
}

// Arguments of GetExtendedTcpTable.
const (
	ownerPIDListener = 3 // TCP_TABLE_OWNER_PID_LISTENER
	rowSize4         = 24
	rowSize6         = 56
)

// listeners lists the system's listening TCP sockets.
func listeners() ([]Socket, error) {
	four, err := tcpTable(windows.AF_INET)
	if err != nil {
		return nil, err
	}
	six, err := tcpTable(windows.AF_INET6)
	if err != nil {
		return nil, err
	}
	var found []Socket
	// MIB_TCPROW_OWNER_PID: state, local address, local port, remote address,
	// remote port, process.
	for ; len(four) >= rowSize4; four = four[rowSize4:] {
		found = append(found, Socket{
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte(four[4:8])), port(four[8:])),
			PID:  pid(four[20:]),
		})
	}
	// MIB_TCP6ROW_OWNER_PID: local address, scope, local port, remote address,
	// scope, remote port, state, process.
	for ; len(six) >= rowSize6; six = six[rowSize6:] {
		found = append(found, Socket{
			Addr: netip.AddrPortFrom(netip.AddrFrom16([16]byte(six[:16])).Unmap(), port(six[20:])),
			PID:  pid(six[52:]),
		})
	}
	return found, nil
}

// port is in network order, in the first two bytes of its field.
func port(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

func pid(b []byte) int {
	return int(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// tcpTable returns the rows of one family's table.
func tcpTable(family uintptr) ([]byte, error) {
	get := windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")
	size := uint32(32 << 10)
	for range 8 { // it may grow between two calls
		b := make([]byte, size)
		code, _, _ := get.Call(uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0, family, ownerPIDListener, 0) //nolint:gosec // as the call wants it
		switch syscall.Errno(code) {
		case windows.ERROR_INSUFFICIENT_BUFFER:
			continue
		case windows.NO_ERROR:
			rows := pid(b) // the table begins with their number
			each := rowSize4
			if family == windows.AF_INET6 {
				each = rowSize6
			}
			return b[4:min(4+rows*each, len(b))], nil
		default:
			return nil, fmt.Errorf("list listening sockets: %w", syscall.Errno(code))
		}
	}
	return nil, fmt.Errorf("list listening sockets: the table keeps growing")
}
