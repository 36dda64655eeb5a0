// Package daprmdns finds and announces sidecars that speak Dapr's protocol
// without mutual TLS, as Dapr's own name resolution does it: multicast DNS with
// the bare app ID as the service type. Nothing in it is proved, and every app of
// that ID on the network is an instance of it, whoever runs it.
//
// It is heard on the interfaces it is told of, and sends on no others.
package daprmdns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/pillion-dev/pillion/discovery"
)

// Name is the word for this source.
const Name = "mdns"

const (
	// patience bounds the wait for the first answer, as Dapr's.
	patience = time.Second
	// lifetime is how long an instance holds that was not heard of again, and
	// renewal after what age it is asked for.
	lifetime = time.Minute
	renewal  = lifetime / 2
	// maxNames bounds the names that are remembered, and maxInstances those of
	// one name.
	maxNames     = 1000
	maxInstances = 100
	// maxRenewals bounds the names that wait to be asked for again.
	maxRenewals = 64
)

var (
	_ discovery.Asker  = (*Service)(nil)
	_ discovery.Failer = (*Service)(nil)
)

// Options are what a Service is told.
type Options struct {
	// Interfaces are where it is heard and asked. Required.
	Interfaces []net.Interface
	// Host is this machine's name, and Addr its address, as it is announced.
	Host string
	Addr netip.Addr
	// PID tells instances of one machine apart.
	PID int
	// Namespace is what instances that are found are in: the record does not
	// say, and Dapr ignores it.
	Namespace string
	// Logger may be nil.
	Logger *slog.Logger
}

// A Service announces one instance and finds others. Run makes it answer; to ask
// works without. It is safe for concurrent use.
type Service struct {
	o       Options
	log     *slog.Logger
	version atomic.Uint64
	renew   chan string

	mu    sync.Mutex // guards what follows
	own   *record    // nil: nothing is announced
	names map[string]map[string]heard
}

// heard is an instance that was heard of.
type heard struct {
	addr netip.AddrPort
	at   time.Time
}

// New makes a Service. It opens no socket.
func New(o Options) *Service {
	s := &Service{o: o, log: o.Logger, renew: make(chan string, maxRenewals), names: map[string]map[string]heard{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Name is "mdns".
func (s *Service) Name() string { return Name }

// Version changes when an instance was heard of or is forgotten.
func (s *Service) Version() uint64 { return s.version.Load() }

// Lookup returns what was heard of key's instances and still holds. What is old
// is asked for again.
func (s *Service) Lookup(key discovery.Key) []discovery.Endpoint {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []discovery.Endpoint
	old := false
	for instance, h := range s.names[key.App] {
		age := now.Sub(h.at)
		if age > lifetime {
			continue
		}
		old = old || age > renewal
		out = append(out, discovery.Endpoint{
			Key: key, ClearText: true, Instance: instance, Addrs: []netip.AddrPort{h.addr}, State: discovery.Ready,
			Local: h.addr.Addr().IsLoopback() || h.addr.Addr() == s.o.Addr, Source: Name,
		})
	}
	if old {
		select {
		case s.renew <- key.App:
		default: // it expires, and is asked for when it is missing
		}
	}
	slices.SortFunc(out, func(a, b discovery.Endpoint) int { return a.Addrs[0].Compare(b.Addrs[0]) })
	return out
}

// Failed forgets an instance that could not be reached. If it lives, it is heard
// of again.
func (s *Service) Failed(e discovery.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names[e.App], e.Instance)
	s.version.Add(1)
}

// Ask asks for key until somebody has answered, for a second at most.
func (s *Service) Ask(ctx context.Context, key discovery.Key) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.ask(ctx, key.App, true)
}

// ask asks on every interface, and ends with the first answer if first is true.
func (s *Service) ask(ctx context.Context, app string, first bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asking sync.WaitGroup
	errs := make([]error, len(s.o.Interfaces))
	for i := range s.o.Interfaces {
		asking.Go(func() {
			errs[i] = query(ctx, &s.o.Interfaces[i], app, func(r record) {
				s.hear(r)
				if first {
					cancel()
				}
			})
		})
	}
	asking.Wait()
	return errors.Join(errs...)
}

// hear notes what an instance has said.
func (s *Service) hear(r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.names[r.app]
	if r.gone {
		delete(all, r.instance())
		s.version.Add(1)
		return
	}
	if all == nil {
		if len(s.names) >= maxNames {
			return
		}
		all = map[string]heard{}
		s.names[r.app] = all
	}
	before, known := all[r.instance()]
	if !known && len(all) >= maxInstances {
		return
	}
	all[r.instance()] = heard{addr: r.addr, at: time.Now()}
	if !known || before.addr != r.addr {
		s.version.Add(1)
	}
}

// overhear notes what a packet says that nobody here has asked for, of the apps
// that somebody here has.
func (s *Service) overhear(m *dns.Msg) {
	s.mu.Lock()
	apps := make([]string, 0, len(s.names))
	for app := range s.names {
		apps = append(apps, app)
	}
	s.mu.Unlock()
	for _, app := range apps {
		read(m, app, s.hear)
	}
}

// Announce says that an app is here, to whoever asks from now on, and at once.
// It is said again a second later if Run runs.
func (s *Service) Announce(a discovery.Announcement) error {
	r := record{app: a.App, host: s.o.Host, pid: s.o.PID, addr: netip.AddrPortFrom(s.o.Addr, a.Port)}
	s.mu.Lock()
	known := s.own != nil && *s.own == r
	s.own = &r
	s.mu.Unlock()
	if known {
		return nil // the record does not hold the state
	}
	return s.say(r)
}

// Withdraw says goodbye, and answers no more for the instance.
func (s *Service) Withdraw(context.Context) error {
	s.mu.Lock()
	own := s.own
	s.own = nil
	s.mu.Unlock()
	if own == nil {
		return nil
	}
	bye := *own
	bye.gone = true
	return s.say(bye)
}

func (s *Service) say(r record) error {
	var errs []error
	for i := range s.o.Interfaces {
		errs = append(errs, announce(&s.o.Interfaces[i], r))
	}
	return errors.Join(errs...)
}

// present is what is announced, or false.
func (s *Service) present() (record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return record{}, false
	}
	return *s.own, true
}
