//go:build !linux

package meshtest_test

import (
	"context"
	"net"
)

func (m *machine) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return dialPlain(ctx, network, addr)
}
