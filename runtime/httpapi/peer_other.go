//go:build !linux

package httpapi

import (
	"errors"
	"net"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// peerCheck says that this system does not tell who is behind a connection.
func peerCheck(*net.TCPAddr) error { return errors.ErrUnsupported }

// tellsUnixPeers: who connects to a Unix socket is the file mode's matter.
const tellsUnixPeers = false

func judgeUser(net.Conn) *apperr.Error { return nil }
