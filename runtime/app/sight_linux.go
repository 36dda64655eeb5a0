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

// refused reports whether the app had closed the connection before what was
// sent on it last arrived: only then the kernel answers that with a reset after
// the app's FIN, and says EPIPE where it else says ECONNRESET or nothing. A
// server that closes processes no further request (RFC 9112 §9.6). It can be
// asked once.
func (s *sight) refused() bool {
	refused := false
	s.ask(func(fd int) {
		fault, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		refused = err == nil && fault == int(unix.EPIPE)
	})
	return refused
}

func (s *sight) ask(about func(fd int)) {
	if s.raw != nil {
		_ = s.raw.Control(func(fd uintptr) { about(int(fd)) }) // fails only if closed: nothing is known
	}
}
