package app

import (
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// isGRPC reports whether a call is a gRPC exchange.
func isGRPC(c *invoke.Call) bool {
	const grpc = "application/grpc"
	kind := c.Fields.Get("content-type")
	return strings.HasPrefix(kind, grpc) && (len(kind) == len(grpc) || kind[len(grpc)] == '+' || kind[len(grpc)] == ';')
}
