package httpapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// Of linux/inet_diag.h and linux/sock_diag.h.
const (
	sockDiagByFamily = 20
	diagRequestSize  = 56
	diagMessageSize  = 72
	noCookie         = 0xffffffff
	anyState         = 0xffffffff
)

// States of linux/tcp_states.h in which a connection still has its process.
const (
	tcpEstablished = 1
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpCloseWait   = 8
)

// errNoSocket: nobody on this machine has the socket any more.
var errNoSocket = errors.New("the socket is gone")

// judgeUser lets in this user and root. A client whose user cannot be told is
// refused: a socket that its process has closed already belongs to uid 0.
func judgeUser(c net.Conn) *apperr.Error {
	var uid uint32
	var err error
	if local, isTCP := addrPort(c.LocalAddr()); isTCP {
		remote, _ := addrPort(c.RemoteAddr())
		uid, err = peerUID(remote, local)
	} else {
		uid, err = unixPeer(c)
	}
	own := os.Getuid()
	if err == nil && (uid == 0 || int(uid) == own) {
		return nil
	}
	e := &apperr.Error{
		Reason:  apperr.UserDenied,
		What:    "this sidecar's doors are for " + userName(own) + " only",
		Cause:   "the connection could not be traced to a process",
		Hint:    "start it with --allow-other-users to let other users of this machine in",
		Reached: apperr.ReachedNo,
		Err:     err,
	}
	if err == nil {
		e.Cause = "the connection belongs to " + userName(int(uid))
	}
	return e
}

// tellsUnixPeers: the kernel knows who connected to a Unix socket.
const tellsUnixPeers = true

// unixPeer is the user that connected to a Unix socket.
func unixPeer(c net.Conn) (uint32, error) {
	sys, ok := c.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var refused error
	if err := raw.Control(func(fd uintptr) { cred, refused = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if refused != nil {
		return 0, fmt.Errorf("ask who connected: %w", refused)
	}
	return cred.Uid, nil
}

func userName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username + " (uid " + id + ")"
	}
	return "uid " + id
}

func addrPort(a net.Addr) (ap netip.AddrPort, isTCP bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap = tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()), true
}

// peerCheck reports whether the system tells who is behind a connection, by
// asking for one that cannot be.
func peerCheck(door *net.TCPAddr) error {
	local, _ := addrPort(door)
	if local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), local.Port())
	}
	_, err := peerUID(netip.AddrPortFrom(local.Addr(), 0), local)
	if err == nil || errors.Is(err, errNoSocket) {
		return nil
	}
	return err
}

// peerUID asks the kernel whose socket from is, connected to to. One question
// and one answer, without privileges; nothing blocks.
func peerUID(from, to netip.AddrPort) (uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("open a sock_diag socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	// The kernel answers while the question is sent; the limit is for kernels
	// that do not.
	limit := unix.NsecToTimeval(int64(time.Second))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	if err := unix.Sendto(fd, diagRequest(from, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask sock_diag: %w", err)
	}
	answer := make([]byte, 4<<10)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, fmt.Errorf("read sock_diag's answer: %w", err)
	}
	return diagAnswer(answer[:n], from, to)
}

func diagRequest(from, to netip.AddrPort) []byte {
	const size = unix.NLMSG_HDRLEN + diagRequestSize
	b := make([]byte, size)
	ne := binary.NativeEndian
	ne.PutUint32(b[0:], size)
	ne.PutUint16(b[4:], sockDiagByFamily)
	ne.PutUint16(b[6:], unix.NLM_F_REQUEST)
	req := b[unix.NLMSG_HDRLEN:]
	req[0] = unix.AF_INET
	if from.Addr().Is6() {
		req[0] = unix.AF_INET6
	}
	req[1] = unix.IPPROTO_TCP
	ne.PutUint32(req[4:], anyState)
	id := req[8:]
	binary.BigEndian.PutUint16(id[0:], from.Port())
	binary.BigEndian.PutUint16(id[2:], to.Port())
	copy(id[4:20], from.Addr().AsSlice())
	copy(id[20:36], to.Addr().AsSlice())
	ne.PutUint32(id[40:], noCookie)
	ne.PutUint32(id[44:], noCookie)
	return b
}

func diagAnswer(b []byte, from, to netip.AddrPort) (uint32, error) {
	ne := binary.NativeEndian
	if len(b) < unix.NLMSG_HDRLEN+4 {
		return 0, errors.New("sock_diag's answer is too short")
	}
	if ne.Uint16(b[4:]) == unix.NLMSG_ERROR {
		errno := unix.Errno(-ne.Uint32(b[unix.NLMSG_HDRLEN:])) // it comes negated
		if errno == unix.ENOENT {
			return 0, errNoSocket
		}
		return 0, fmt.Errorf("sock_diag: %w", errno)
	}
	msg := b[unix.NLMSG_HDRLEN:]
	if len(msg) < diagMessageSize {
		return 0, errors.New("sock_diag's answer is too short")
	}
	// Without the connection the kernel may answer with a listener.
	if binary.BigEndian.Uint16(msg[4:]) != from.Port() || binary.BigEndian.Uint16(msg[6:]) != to.Port() {
		return 0, errNoSocket
	}
	inode := ne.Uint32(msg[68:])
	switch msg[1] {
	case tcpEstablished, tcpFinWait1, tcpFinWait2, tcpCloseWait:
		if inode != 0 {
			return ne.Uint32(msg[64:]), nil
		}
	}
	return 0, errNoSocket
}
