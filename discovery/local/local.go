// Package local finds the instances of this user on this machine in the
// runtime folder. It is exact, needs no network, and knows at once when an
// instance was killed, because a dead one holds no lock.
package local

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/rundir"
)

// Name is the word for this source.
const Name = "local"

var (
	_ discovery.Refresher = (*Source)(nil)
	_ discovery.Browser   = (*Source)(nil)
)

type addrPort = netip.AddrPort

// Options are what a Source is told.
type Options struct {
	// NetNS is the caller's network namespace (rundir.NetNS): entries of
	// another one are left out, for their loopback is not ours.
	NetNS uint64
}

// A Source reads the runtime folder. It is safe for concurrent use.
type Source struct {
	dir   *rundir.Dir
	netns uint64

	view    atomic.Pointer[view]
	reading sync.Mutex // held while the folder is read: one reader does for all
	forced  atomic.Uint64
}

// A view is the folder as it was once. It is never changed.
type view struct {
	version uint64 // of the folder, taken before it was read
	forced  uint64 // how many Refreshes it has seen
	all     []discovery.Endpoint
	byKey   map[discovery.Key][]discovery.Endpoint
	sockets map[addrPort]string
}

// New makes a Source of a runtime folder.
func New(dir *rundir.Dir, o Options) *Source {
	return &Source{dir: dir, netns: o.NetNS}
}

// Name is "local".
func (s *Source) Name() string { return Name }

// Version costs one stat.
func (s *Source) Version() uint64 { return s.dir.Version() ^ s.forced.Load()<<48 }

// Lookup returns the live instances of key. It reads the folder if it has
// changed since it was last read.
func (s *Source) Lookup(key discovery.Key) []discovery.Endpoint {
	return slices.Clone(s.present().byKey[key])
}

// All returns every live instance.
func (s *Source) All() []discovery.Endpoint { return slices.Clone(s.present().all) }

// Socket returns the path of the Unix socket that leads to the same mesh
// listener as addr, or "" if there is none: bytes cross it at half the cost of a
// loopback connection. Who answers there proves its identity as anywhere.
func (s *Source) Socket(addr netip.AddrPort) string { return s.present().sockets[addr] }

// Refresh has the folder read again at the next question, whether it looks
// changed or not.
func (s *Source) Refresh() { s.forced.Add(1) }

func (s *Source) present() *view {
	forced := s.forced.Load()
	if v := s.view.Load(); v != nil && v.forced >= forced && v.version == s.dir.Version() {
		return v
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	forced = s.forced.Load()
	version := s.dir.Version()
	if v := s.view.Load(); v != nil && v.forced >= forced && v.version == version {
		return v
	}
	v := s.read()
	v.version, v.forced = version, forced
	s.view.Store(v)
	return v
}

// read turns the folder's entries into endpoints. A folder that cannot be read
// has none: other sources may know more.
func (s *Source) read() *view {
	v := &view{byKey: map[discovery.Key][]discovery.Endpoint{}, sockets: map[addrPort]string{}}
	entries, err := s.dir.Entries()
	if err != nil {
		return v
	}
	for _, e := range entries {
		if len(e.Mesh) == 0 || e.NetNS != s.netns {
			continue
		}
		endpoint := discovery.Endpoint{
			Key:      discovery.Key{Namespace: e.Namespace, App: e.App},
			Instance: e.ID, Addrs: nearFirst(e), State: discovery.State(e.State),
			ClearText: e.ClearText, Local: true, Source: Name,
		}
		if e.MeshSocket != "" {
			for _, addr := range endpoint.Addrs {
				v.sockets[addr] = e.MeshSocket
			}
		}
		v.all = append(v.all, endpoint)
		v.byKey[endpoint.Key] = append(v.byKey[endpoint.Key], endpoint)
	}
	return v
}

// nearFirst puts loopback addresses first: on this machine they work whatever
// becomes of the network.
func nearFirst(e rundir.Entry) []addrPort {
	addrs := discovery.Reachable(e.Mesh)
	slices.SortStableFunc(addrs, func(a, b addrPort) int {
		return cmp.Compare(distance(a), distance(b))
	})
	return addrs
}

func distance(a addrPort) int {
	if a.Addr().IsLoopback() {
		return 0
	}
	return 1
}
