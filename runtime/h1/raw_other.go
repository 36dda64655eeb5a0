//go:build !unix

package h1

import (
	"errors"
	"net"
	"syscall"
)

// rawConn knows no connection here: another engine serves them all.
func rawConn(net.Conn) (raw syscall.RawConn, fd int, ok bool) { return nil, 0, false }

func readNow(uintptr, []byte) (n int, again bool, err error) { return 0, false, errors.ErrUnsupported }

// gone is never asked.
func (s *Server) gone([]*Exchange) []*Exchange { return nil }
