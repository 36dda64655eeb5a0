// Package daprmesh is sidecar to sidecar as Dapr has it: the service
// dapr.proto.internals.v1.ServiceInvocation on HTTP/2, and gRPC exchanges under
// their own names. An official Dapr sidecar can be called by it and can call it.
//
// In clear text nothing here proves who anybody is: whoever reaches the port is
// served, and what a caller says of itself is a claim. With TLS both sides are
// who their certificates say. The exactness of pillion's own mesh (runtime/mesh)
// is not promised either way: bodies cross in the messages of Dapr's protocol,
// which knows no trailers, no 1xx answers and no upgrades.
package daprmesh

import (
	"strings"
	"time"

	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
)

// ALPN is the protocol's name in the TLS handshake, as gRPC has it.
const ALPN = "h2"

// The methods of Dapr's service.
const (
	service         = "/dapr.proto.internals.v1.ServiceInvocation/"
	callLocal       = service + "CallLocal"
	callLocalStream = service + "CallLocalStream"
)

// What sidecars tell each other of a gRPC exchange, as metadata.
const (
	fieldCallee = "dapr-callee-app-id"
	fieldCaller = "dapr-caller-app-id"
	fieldTarget = "dapr-app-id"
)

const (
	// payloadSize is how much of a body goes into one message, at most.
	payloadSize = 32 << 10
	// defaultMaxMessage is Dapr's bound of one message.
	defaultMaxMessage = 4 << 20
	// dialTimeout bounds the opening of a connection.
	dialTimeout = 30 * time.Second
	// A peer that does not answer for this long is gone, as Dapr's pings have it.
	keepAliveIdle, keepAliveInterval, keepAliveCount = 10 * time.Second, 5 * time.Second, 1
	// maxConns bounds the connections to one sidecar: each takes as many calls
	// as the peer allows.
	maxConns = 8
	// maxServed bounds the connections of other sidecars.
	maxServed = 1024
	// idleClose is how long a connection without calls is kept.
	idleClose = 3 * time.Minute
	// maxAgain is the largest body that is kept to be sent again.
	maxAgain = 64 << 10
	// retireAhead is how long before a leaf ends no call begins on its connection.
	retireAhead = 10 * time.Minute
	// drainTime bounds the wait for exchanges under way at the end.
	drainTime = 500 * time.Millisecond
)

// version is what a request's ver says.
const version = internalsv1.APIVersion_V1

// isGRPC reports whether a content type is gRPC's.
func isGRPC(kind string) bool {
	return kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+") || strings.HasPrefix(kind, "application/grpc;")
}
