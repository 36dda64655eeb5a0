// Package discovery answers "where is app X of namespace N?" from several
// sources: the machine's own runtime folder, mDNS, a list of static peers.
// It is useful alone: it knows no sidecar. Who a found peer really is, is
// decided by its certificate when it is called, never here.
package discovery

import (
	"context"
	"net/netip"
	"time"
)

// A Key names an app in its namespace. A Resolver belongs to one trust domain,
// so the trust domain is not part of the key.
type Key struct {
	Namespace string
	App       string
}

// String is app.namespace, the form users write.
func (k Key) String() string { return k.App + "." + k.Namespace }

// A State is how far an instance is, as it says itself.
type State string

// The states. An instance announces itself from the moment its mesh listener
// is bound, so it is Starting first; nothing but its end removes it.
const (
	Starting   State = "starting"
	Ready      State = "ready"
	Unhealthy  State = "unhealthy"
	Restarting State = "restarting"
	Draining   State = "draining"
)

// Holds reports whether an instance in this state keeps a call until its app
// can take it. Callers go to such an instance only if none is ready.
func (s State) Holds() bool { return s == Starting || s == Restarting }

// An Endpoint is one instance of an app and how to reach it. It is a value;
// a Source hands out copies.
type Endpoint struct {
	Key
	// Instance is the instance's id, 8 lower-case characters, unique among
	// the instances of one trust domain. Empty for a static peer that has not
	// been called yet.
	Instance string
	// Addrs are the mesh addresses, best first. Never empty.
	Addrs []netip.AddrPort
	// State is what the instance last said of itself. Empty is unknown and is
	// treated as Ready.
	State State
	// ClearText is true if the instance speaks Dapr's protocol without mutual
	// TLS, and nothing else.
	ClearText bool
	// Local is true if the instance runs on this machine.
	Local bool
	// Source is the name of the source that answered: local, mdns, static.
	Source string
}

// A Source knows some instances. Implementations are safe for concurrent use.
type Source interface {
	// Name is the word for this source: local, mdns, static.
	Name() string
	// Lookup returns the instances of key that are known without waiting.
	// It must answer within microseconds and takes no network round trip.
	// The slice is the caller's.
	Lookup(key Key) []Endpoint
	// Version changes whenever an answer of Lookup may have changed. It is
	// cheap: the Resolver asks it before it asks anything else.
	Version() uint64
}

// An Asker is a Source that can go and ask the network for a name it does not
// know.
type Asker interface {
	Source
	// Ask looks for key until something is found, its own patience (bounded,
	// well under a second) is exhausted, or ctx ends; what is found appears
	// in Lookup. Finding nothing is not an error.
	Ask(ctx context.Context, key Key) error
}

// A Refresher is a Source that can re-read what it knows at once, because a
// caller has seen an instance refuse.
type Refresher interface {
	Source
	Refresh()
}

// A Failer is a Source that takes note of an instance that could not be
// reached.
type Failer interface {
	Source
	Failed(e Endpoint)
}

// A Browser is a Source that can name all apps it sees, for near matches and
// lists.
type Browser interface {
	Source
	// All returns every instance this source knows.
	All() []Endpoint
}

// An Announcement is what an instance says of itself to a source that
// announces.
type Announcement struct {
	Key
	Instance string
	Port     uint16 // of the mesh listener
	Addrs    []netip.AddrPort
	State    State
	Since    time.Time
}
