package supervisor

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

type listener struct {
	addr netip.AddrPort
	uid  int
}

// listeners lists the listening TCP sockets a process can see, by inode; pid 0
// is ourselves. The kernel is asked for just these: /proc/net/tcp also lists
// each connection that was closed within the last minute, and on a busy machine
// takes some milliseconds for that.
func listeners(pid int) (map[uint64]listener, error) {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	}
	if sameNetwork(who) {
		if all, err := askKernel(); err == nil {
			return all, nil
		}
	}
	return readTables("/proc/" + who + "/net/")
}

func sameNetwork(who string) bool {
	theirs, err := os.Readlink("/proc/" + who + "/ns/net")
	if err != nil {
		return false
	}
	ours, err := os.Readlink("/proc/self/ns/net")
	return err == nil && ours == theirs
}

// Sizes of struct inet_diag_req_v2 and inet_diag_msg of linux/inet_diag.h.
const (
	diagRequest = 56
	diagAnswer  = 72
	tcpListen   = 10 // TCP_LISTEN of linux/tcp.h
)

// errDiag is an answer of the kernel that is not what was asked for.
var errDiag = errors.New("sock_diag")

// askKernel asks by sock_diag(7).
func askKernel() (map[uint64]listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }() // only read
	limit := unix.Timeval{Sec: 1}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, err
	}
	all := map[uint64]listener{}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		if err := unix.Sendto(fd, diagQuestion(family), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, err
		}
		if err := readAnswers(fd, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// diagQuestion asks for all listening TCP sockets of a family.
func diagQuestion(family byte) []byte {
	const size = unix.SizeofNlMsghdr + diagRequest
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b, size)
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[unix.SizeofNlMsghdr] = family
	b[unix.SizeofNlMsghdr+1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], 1<<tcpListen)
	return b
}

// readAnswers reads one family's sockets to the end of the list.
func readAnswers(fd int, all map[uint64]listener) error {
	b := make([]byte, 32<<10)
	for {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			return err
		}
		if done, err := takeAnswers(messages, all); done || err != nil {
			return err
		}
	}
}

func takeAnswers(messages []syscall.NetlinkMessage, all map[uint64]listener) (done bool, err error) {
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.SOCK_DIAG_BY_FAMILY:
			if l, inode, ok := parseDiag(m.Data); ok {
				all[inode] = l
			}
		default:
			return false, errDiag
		}
	}
	return false, nil
}

// parseDiag reads struct inet_diag_msg.
func parseDiag(b []byte) (listener, uint64, bool) {
	if len(b) < diagAnswer || b[1] != tcpListen {
		return listener{}, 0, false
	}
	port := binary.BigEndian.Uint16(b[4:])
	addr := netip.AddrFrom16([16]byte(b[8:24])).Unmap()
	if b[0] == unix.AF_INET {
		addr = netip.AddrFrom4([4]byte(b[8:12]))
	}
	uid, inode := binary.NativeEndian.Uint32(b[64:]), binary.NativeEndian.Uint32(b[68:])
	return listener{addr: netip.AddrPortFrom(addr, port), uid: int(uid)}, uint64(inode), true
}

// readTables reads the tables of a network namespace.
func readTables(dir string) (map[uint64]listener, error) {
	all := map[uint64]listener{}
	var first error
	for _, name := range []string{"tcp", "tcp6"} { // a system may lack one
		table, err := os.ReadFile(dir + name) //nolint:gosec // of /proc
		if err != nil {
			first = err
			continue
		}
		for line := range bytes.Lines(table) {
			if l, inode, ok := parseListener(line); ok {
				all[inode] = l
			}
		}
	}
	if len(all) == 0 && first != nil {
		return nil, fmt.Errorf("list listening sockets: %w", first)
	}
	return all, nil
}

// stateListen is TCP_LISTEN as /proc/net/tcp writes it.
const stateListen = "0A"

// parseListener reads a line of /proc/net/tcp: "sl local remote state queues
// timer retransmits uid timeout inode …".
func parseListener(line []byte) (listener, uint64, bool) {
	if !bytes.Contains(line, []byte(" "+stateListen+" ")) {
		return listener{}, 0, false
	}
	fields := bytes.Fields(line)
	if len(fields) < 10 || string(fields[3]) != stateListen {
		return listener{}, 0, false
	}
	addr, ok := parseAddr(string(fields[1]))
	inode, err := strconv.ParseUint(string(fields[9]), 10, 64)
	if !ok || err != nil {
		return listener{}, 0, false
	}
	uid, err := strconv.Atoi(string(fields[7]))
	if err != nil {
		uid = -1
	}
	return listener{addr: addr, uid: uid}, inode, true
}

// parseAddr reads an address of /proc/net/tcp: words of four bytes in the
// machine's order, and the port in hexadecimal.
func parseAddr(s string) (netip.AddrPort, bool) {
	words, portText, _ := strings.Cut(s, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	b, errHex := hex.DecodeString(words)
	if err != nil || errHex != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok
}
