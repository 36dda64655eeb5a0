package app

import (
	"time"

	"golang.org/x/sys/unix"
)

// heard is how long ago the last bytes came, by the kernel's clock, whose ticks
// are some milliseconds; zero if it is not known.
func (s *sight) heard() time.Duration {
	var ago time.Duration
	s.ask(func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			ago = time.Duration(info.Last_data_recv) * time.Millisecond
		}
	})
	return ago
}

// refused reports whether the app had closed the connection before any of the n
// bytes that were sent on it last arrived: the kernel answered them with a reset
// after the app's FIN, and says EPIPE where it else says ECONNRESET or nothing;
// and that FIN acknowledges none of them, as it does what the app had got, and
// may have carried out, when it shut the connection down. A server that closes
// processes no further request (RFC 9112 §9.6). It can be asked once.
func (s *sight) refused(n int) bool {
	refused := false
	s.ask(func(fd int) {
		fault, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || fault != int(unix.EPIPE) {
			return
		}
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		refused = err == nil && info.Bytes_sent >= info.Bytes_retrans+info.Bytes_acked+uint64(n)-synAcked //nolint:gosec // n is not negative
	})
	return refused
}

// synAcked is what the kernel counts as acknowledged and not as sent: the SYN.
const synAcked = 1

func (s *sight) ask(about func(fd int)) {
	if s.raw != nil {
		_ = s.raw.Control(func(fd uintptr) { about(int(fd)) }) // fails only if closed: nothing is known
	}
}
