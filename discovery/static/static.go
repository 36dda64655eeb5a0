// Package static is the list of peers the user gave, for networks without
// multicast. A peer without an app ID is nobody until its certificate, seen
// when it is first called, has said who it is.
package static

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

// Name is the word for this source.
const Name = "static"

const (
	// resolveAge is how long the addresses of a host name are kept, and
	// resolvePatience how long its look-up may take.
	resolveAge      = 30 * time.Second
	resolvePatience = 250 * time.Millisecond
)

var (
	_ discovery.Asker   = (*Source)(nil)
	_ discovery.Browser = (*Source)(nil)
)

// A Peer is one line of the list.
type Peer struct {
	// Key says who it is. Without an App it is to be learnt; without a
	// Namespace it is of the default one.
	discovery.Key
	Host string // a name or an IP literal
	Port uint16
	// ClearText is true if it speaks Dapr's protocol without mutual TLS, which
	// the list does not say.
	ClearText bool
}

// String is the peer as the user writes it.
func (p Peer) String() string {
	addr := net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
	switch {
	case p.App == "":
		return addr
	case p.Namespace == "" || p.Namespace == identity.DefaultNamespace:
		return p.App + "=" + addr
	}
	return p.App + "." + p.Namespace + "=" + addr
}

// ParsePeer reads [app-id[.namespace]=]host:port.
func ParsePeer(s string) (Peer, error) {
	var p Peer
	addr := s
	if name, rest, ok := strings.Cut(s, "="); ok {
		addr = rest
		p.App, p.Namespace, ok = strings.Cut(name, ".")
		if err := identity.CheckAppID(p.App); err != nil {
			return Peer{}, refused(s, err.Error())
		}
		if ok {
			if err := identity.CheckNamespace(p.Namespace); err != nil {
				return Peer{}, refused(s, err.Error())
			}
		}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isHost(host) {
		return Peer{}, refused(s, "it has no host and port")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return Peer{}, refused(s, fmt.Sprintf("%q is not a port from 1 to 65535", port))
	}
	p.Host, p.Port = host, uint16(number)
	return p, nil
}

// isHost accepts IP literals and what may be a name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && strings.IndexFunc(s, func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !letter && !strings.ContainsRune(".-_", c)
	}) < 0
}

func refused(s, why string) error {
	return &apperr.Error{
		Reason: apperr.Usage,
		What:   fmt.Sprintf("%q is not a peer", s),
		Cause:  why,
		Hint:   "write --peer host:port or --peer app-id=host:port",
	}
}

// A Source serves a list of peers. It is safe for concurrent use.
type Source struct {
	version  atomic.Uint64
	identify func(ctx context.Context, addr string) (discovery.Key, error)

	mu    sync.Mutex // guards what follows
	peers []peer
}

type peer struct {
	Peer
	addrs    []netip.AddrPort // empty until the host name has been looked up
	resolved time.Time        // zero for a literal
}

// New makes a Source. Names are looked up when somebody asks.
func New(peers []Peer) *Source {
	s := &Source{}
	for _, p := range peers {
		if p.App != "" && p.Namespace == "" {
			p.Namespace = identity.DefaultNamespace
		}
		known := peer{Peer: p}
		if ip, err := netip.ParseAddr(p.Host); err == nil {
			known.addrs = []netip.AddrPort{netip.AddrPortFrom(ip, p.Port)}
		}
		s.peers = append(s.peers, known)
	}
	return s
}

// IdentifyWith gives the function by which Ask learns who a peer without an id
// is: it calls addr, which is host:port, and returns whose certificate it was
// shown. It is to be set before the first Ask.
func (s *Source) IdentifyWith(identify func(ctx context.Context, addr string) (discovery.Key, error)) {
	s.identify = identify
}

// Name is "static".
func (s *Source) Name() string { return Name }

// Version changes when a peer was learnt or a name was looked up.
func (s *Source) Version() uint64 { return s.version.Load() }

// Lookup returns the peers with this id whose addresses are known.
func (s *Source) Lookup(key discovery.Key) []discovery.Endpoint {
	return slices.DeleteFunc(s.All(), func(e discovery.Endpoint) bool { return e.Key != key })
}

// All returns every peer whose id and addresses are known.
func (s *Source) All() []discovery.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []discovery.Endpoint
	for _, p := range s.peers {
		if p.App != "" && len(p.addrs) > 0 {
			all = append(all, endpoint(p))
		}
	}
	return all
}

// Unidentified returns the peers that have still to say who they are. Those
// with a host name have their Host only; Ask looks names up.
func (s *Source) Unidentified() []Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var unknown []Peer
	for _, p := range s.peers {
		if p.App == "" {
			unknown = append(unknown, p.Peer)
		}
	}
	return unknown
}

// Learn notes whose certificate the peer given as addr (host:port, as in the
// list) has shown. A peer whose id the user gave keeps it.
func (s *Source) Learn(addr string, key discovery.Key) {
	s.mu.Lock()
	learnt := false
	for i := range s.peers {
		p := &s.peers[i]
		if p.App == "" && net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) == addr {
			p.Key, learnt = key, true
		}
	}
	s.mu.Unlock()
	if learnt {
		s.version.Add(1)
	}
}

// Ask looks up the host names of the peers with this id, and of those that
// have none yet, if that was not done lately, and asks those who they are.
func (s *Source) Ask(ctx context.Context, key discovery.Key) error {
	ctx, cancel := context.WithTimeout(ctx, resolvePatience)
	defer cancel()
	var looking sync.WaitGroup
	for _, i := range s.stale(key) {
		looking.Go(func() { s.resolve(ctx, i) })
	}
	if s.identify != nil {
		for _, p := range s.Unidentified() {
			looking.Go(func() {
				addr := net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
				if who, err := s.identify(ctx, addr); err == nil {
					s.Learn(addr, who)
				} // else it is asked again by the next Ask
			})
		}
	}
	looking.Wait()
	return nil
}

// stale lists the peers whose names are to be looked up.
func (s *Source) stale(key discovery.Key) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stale []int
	for i, p := range s.peers {
		literal := len(p.addrs) > 0 && p.resolved.IsZero()
		if !literal && (p.Key == key || p.App == "") && time.Since(p.resolved) > resolveAge {
			stale = append(stale, i)
		}
	}
	return stale
}

func (s *Source) resolve(ctx context.Context, i int) {
	s.mu.Lock()
	host, port := s.peers[i].Host, s.peers[i].Port
	s.mu.Unlock()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), port))
	}
	s.mu.Lock()
	s.peers[i].addrs, s.peers[i].resolved = addrs, time.Now()
	s.mu.Unlock()
	s.version.Add(1)
}

func endpoint(p peer) discovery.Endpoint {
	return discovery.Endpoint{
		Key: p.Key, ClearText: p.ClearText, Addrs: slices.Clone(p.addrs), Source: Name,
		Local: p.addrs[0].Addr().IsLoopback(),
	}
}
