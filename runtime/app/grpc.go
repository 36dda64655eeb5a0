package app

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// isGRPC reports whether a call is a gRPC exchange.
func isGRPC(c *invoke.Call) bool {
	const grpc = "application/grpc"
	kind := c.Fields.Get("content-type")
	return strings.HasPrefix(kind, grpc) && (len(kind) == len(grpc) || kind[len(grpc)] == '+' || kind[len(grpc)] == ';')
}

// grpcTimeout is the time left as gRPC has it, in the finest unit that its
// eight digits allow, rounded up; "" without a deadline. What the client sent
// does not say how long the call has been under way.
func grpcTimeout(ctx context.Context) string {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ""
	}
	left := max(time.Until(deadline), 1)
	unit, letter := time.Hour, byte('H')
	for _, finer := range [...]struct {
		unit   time.Duration
		letter byte
	}{{1, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}} {
		if (left-1)/finer.unit < 1e8-1 {
			unit, letter = finer.unit, finer.letter
			break
		}
	}
	var room [12]byte
	digits := strconv.AppendInt(room[:0], int64((left-1)/unit)+1, 10)
	return string(append(digits, letter))
}
