//go:build !unix

package app

import (
	"errors"
	"net"
)

// canLook says that nothing is seen here without reading: a goroutine that
// reads ahead is the only watch over an idle connection.
const canLook = false

// A sight sees nothing here.
type sight struct{}

func newSight(net.Conn) *sight { return new(sight) }

func (*sight) quiet() bool     { return true }
func (*sight) read([]byte) int { return 0 }

func (*sight) canWait() bool { return false }

func (*sight) await() ([]byte, int, error) { return nil, 0, errors.ErrUnsupported }
