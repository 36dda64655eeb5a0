// Package mesh carries calls from sidecar to sidecar: a server, a transport,
// and between them one mutual TLS link for each pair, on which many calls
// travel at once (docs/adr/0003-mesh-protocol.md).
//
// The protocol exists to answer one question about a call that failed: can it
// have been handed to the app? Nothing in this package repeats a call.
package mesh

import "time"

// ALPN is the protocol's name in the TLS handshake.
const ALPN = "pillion/1"

// The revisions of the protocol this code speaks. Both sides use the highest
// they share.
const (
	oldestRevision = 2
	newestRevision = 2
)

// The limits of docs/limits.md.
const (
	// maxHead bounds the encoded head or trailers of a call.
	maxHead = 64 << 10
	// maxData bounds one data frame: what a call may put in front of another
	// call's bytes. It is a TLS record's payload.
	maxData = 16 << 10
	// callWindow and linkWindow bound what has been sent in one direction and
	// not been consumed.
	callWindow = 256 << 10
	linkWindow = 4 << 20
	// maxCalls bounds the open calls on one link; maxLinks the links to one
	// instance.
	maxCalls = 1000
	maxLinks = 8
	// maxHandshakes bounds the handshakes a server has in progress; maxServed
	// the links it keeps.
	maxHandshakes = 64
	maxServed     = 1024
	// maxInfos bounds the 1xx answers that wait for the caller.
	maxInfos = 16
	// gather is how much may wait to be written before calls wait; flood is
	// where a peer that makes us answer and does not read is cut off.
	gather = 256 << 10
	flood  = 2 << 20
)

const (
	// handshakeTime bounds a TLS handshake and the greeting behind it.
	handshakeTime = 5 * time.Second
	// tick is how often a link with open calls is looked at. A peer that has
	// said nothing for quietTicks is asked, and is dead at deadTicks.
	tick       = 500 * time.Millisecond
	quietTicks = 4
	deadTicks  = 9
	// idleTime is how long a transport keeps a link without calls.
	idleTime = 5 * time.Minute
	// retireAhead is how long before a leaf expires its link takes no new
	// calls. The transport is earlier than the server, so that links change
	// hands without a refused call.
	retireAhead = 10 * time.Minute
	// partingTime is how long a closing link may take to write what it has.
	partingTime = time.Second
)
