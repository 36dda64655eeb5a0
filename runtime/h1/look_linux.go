package h1

import "golang.org/x/sys/unix"

// pollGone asks for the end of the client's direction, whatever comes before
// it.
const pollGone = unix.POLLRDHUP
