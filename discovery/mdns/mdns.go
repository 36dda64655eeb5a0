// Package mdns finds instances by multicast DNS (RFC 6762): on this machine
// what the runtime folder cannot show, and on the networks it is on if it is
// told to (LAN scope). Names on the wire are keyed hashes, records are signed
// with the trust domain's discovery key, so other trust domains' apps are
// neither asked, nor readable, nor believed. Who a peer really is, is decided
// by its certificate.
//
// In host scope nothing leaves the machine and nothing from outside is heard:
// questions have no hops left, and the one listening socket, on Linux only, is
// bound to the group and takes part in loopback's membership alone. In LAN
// scope github.com/hashicorp/mdns answers and sweeps.
//
// One process of a runtime folder answers for all.
package mdns

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/rundir"
)

// Name is the word for this source.
const Name = "mdns"

const (
	// repeatAfter is when an announcement is sent for the second time: packets
	// get lost.
	repeatAfter = time.Second
	// maxRefreshes bounds the names that wait to be asked for again.
	maxRefreshes = 64
)

var (
	_ discovery.Asker   = (*Service)(nil)
	_ discovery.Browser = (*Service)(nil)
	_ discovery.Failer  = (*Service)(nil)
)

// Options are what a Service is told.
type Options struct {
	// Key is the trust domain's discovery key. Required.
	Key []byte
	// Dir is the path of the trust domain's runtime folder: its instances are
	// answered for, and it is where the one who answers is elected. Empty: a
	// process answers for itself.
	Dir string
	// LAN is true if other machines are to be asked and answered.
	LAN bool
	// NetNS is the network namespace (rundir.NetNS).
	NetNS uint64
	// Logger gets what happens, at debug level; nil discards.
	Logger *slog.Logger
	// Warn gets, once, what keeps mDNS from working. Nil: Logger, as a warning.
	Warn func(problem string)
}

// A Service announces an instance and finds others. Run makes it answer; all
// else works without. It is safe for concurrent use.
type Service struct {
	dir    string
	netns  uint64
	log    *slog.Logger
	warn   func(string)
	cache  *cache
	scopes []*scope

	refreshes chan discovery.Key
	repeat    chan struct{}

	mu      sync.Mutex // guards what follows
	own     *discovery.Announcement
	epoch   time.Time
	pending bool // own is to be sent once more
	warned  bool
	// problems are those of host scope (false) and LAN scope (true).
	problems map[bool]string
}

// New makes a Service. It opens no socket and sends nothing.
func New(o Options) (*Service, error) {
	if len(o.Key) == 0 {
		return nil, fmt.Errorf("mdns: no discovery key")
	}
	s := &Service{
		dir: o.Dir, netns: o.NetNS, log: o.Logger, warn: o.Warn, cache: newCache(),
		problems:  map[bool]string{},
		refreshes: make(chan discovery.Key, maxRefreshes), repeat: make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var folder *rundir.Dir
	if o.Dir != "" {
		var err error
		if folder, err = rundir.Open(filepath.Dir(o.Dir), filepath.Base(o.Dir)); err != nil {
			return nil, err
		}
	}
	add := func(lan bool, machine string) error {
		k, err := newKeys(o.Key, machine, o.NetNS)
		if err == nil {
			z := &zone{keys: k, lan: lan, netns: o.NetNS, dir: folder}
			s.scopes = append(s.scopes, newScope(lan, k, s.cache, z))
		}
		return err
	}
	if hasHostScope {
		if err := add(false, MachineID()); err != nil {
			return nil, err
		}
	}
	if o.LAN {
		if err := add(true, ""); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Name is "mdns".
func (s *Service) Name() string { return Name }

// Version changes when an instance was heard of, has changed or has expired.
func (s *Service) Version() uint64 { return s.cache.present(time.Now()) }

// Lookup returns what was heard of key's instances and still holds.
func (s *Service) Lookup(key discovery.Key) []discovery.Endpoint {
	found, stale := s.cache.lookup(key, time.Now())
	if stale {
		select {
		case s.refreshes <- key:
		default: // it expires, and is asked for when it is missing
		}
	}
	return found
}

// All returns every instance that was heard of and still holds.
func (s *Service) All() []discovery.Endpoint { return s.cache.all(time.Now()) }

// Failed forgets an instance that could not be reached. If it lives, it is
// heard of again.
func (s *Service) Failed(e discovery.Endpoint) { s.cache.drop(e.Instance) }

// Problem is what keeps mDNS from working now, or "".
func (s *Service) Problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.problems[true], s.problems[false])
}

// Ask asks for key: on one machine for 30 ms, on the LAN for 250 ms, or until
// there is an answer.
func (s *Service) Ask(ctx context.Context, key discovery.Key) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := func() bool {
		known, _ := s.cache.lookup(key, time.Now())
		return len(known) > 0
	}
	failed := make(chan error, len(s.scopes))
	for _, sc := range s.scopes {
		go func() {
			failed <- sc.ask(ctx, key, found)
			if found() {
				cancel() // the other scope need not go on
			}
		}()
	}
	var first error
	for range s.scopes {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Announce says what the instance is, now and once more a second later if Run
// runs, and from then on to whoever asks. It is called again for each change
// of state. It sends a few packets and does not wait.
func (s *Service) Announce(a discovery.Announcement) error {
	s.mu.Lock()
	s.own, s.epoch = &a, time.Now()
	s.mu.Unlock()
	return s.announce(true)
}

// Withdraw says goodbye, now and once more when Run ends, and answers no more
// for the instance. It sends a few packets and does not wait, so a context
// that has ended does not keep it from that.
func (s *Service) Withdraw(context.Context) error {
	s.mu.Lock()
	if s.own == nil {
		s.mu.Unlock()
		return nil
	}
	bye := *s.own
	bye.State = gone
	s.own, s.epoch = &bye, time.Now()
	s.mu.Unlock()
	return s.announce(true)
}

// announce sends what the own instance says. again is for a repetition later.
func (s *Service) announce(again bool) error {
	s.mu.Lock()
	own, epoch := s.own, s.epoch
	s.pending = again && own != nil
	s.mu.Unlock()
	if own == nil {
		return nil
	}
	var first error
	for _, sc := range s.scopes {
		if err := sc.announce(*own, epoch); err != nil && first == nil {
			first = err
		}
	}
	if again {
		select {
		case s.repeat <- struct{}{}:
		default:
		}
	}
	return first
}
