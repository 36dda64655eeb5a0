package discovery

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tableAge is how old an answer may be that is given without asking the
	// sources whether anything has changed.
	tableAge = 10 * time.Millisecond
	// pollEvery is how often the sources are asked while somebody waits.
	pollEvery = 5 * time.Millisecond
	// maxNames bounds the table. Names without instances go first.
	maxNames = 8192

	defaultResolveTimeout = time.Second
)

// Options are what a Resolver is made of.
type Options struct {
	// Sources answer in this order: of one instance that several know, the
	// first one's word counts.
	Sources []Source
	// Namespace is the caller's own.
	Namespace string
	// Seen, if not nil, remembers which apps have answered.
	Seen *Seen
	// ResolveTimeout bounds the wait for a name that answered once, but not
	// within the last day. Default: 1s. A name nobody has ever seen is waited
	// for only as long as its sources' own patience.
	ResolveTimeout time.Duration
	// Declared are the apps this one is known to depend on.
	Declared []Key
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger gets what happens to instances, at debug level; nil discards.
	Logger *slog.Logger
}

// A Resolver answers where the instances of an app are, from a table that its
// sources feed. It is safe for concurrent use and keeps nothing running.
type Resolver struct {
	sources  []Source
	seen     *Seen
	declared map[Key]bool
	patience time.Duration
	now      func() time.Time
	elapsed  func() time.Duration // since started, by the same clock
	started  time.Time
	log      *slog.Logger

	// table is replaced whole when a name comes or goes; an answer is
	// replaced whole in its slot.
	table  atomic.Pointer[map[Key]*slot]
	number atomic.Uint64 // of the last answer
	lead   chan struct{} // held by the one who polls for all that wait
	asks   chan struct{} // held by each question to the network
	// browsed is when the sources were last re-read for Near, since started.
	browsed atomic.Int64

	mu      sync.Mutex // guards what follows, and writing table
	failed  map[instanceKey]failure
	flights map[Key]*flight
}

// A slot is the place of one name in the table.
type slot struct {
	answer  atomic.Pointer[answer]
	checked atomic.Int64 // when the answer was last found valid, since started

	// Guarded by the resolver's mu.
	waiters  int
	nextAsk  time.Time
	askPause time.Duration
}

// An answer is what is known of one name. It is never changed.
type answer struct {
	endpoints []Endpoint    // to be given out
	present   bool          // a source has an instance, even if a failing one
	versions  []uint64      // of the sources
	number    uint64        // differs from that of any other answer of a Resolver
	until     time.Time     // when a failing instance is to be shown again; zero: never
	replaced  chan struct{} // closed by the answer after it
}

// nothing is the answer for a name that has no place in the table.
var nothing = &answer{}

// New makes a Resolver. It asks nobody anything.
func New(o Options) *Resolver {
	r := &Resolver{
		sources: slices.Clone(o.Sources), seen: o.Seen, patience: o.ResolveTimeout,
		now: o.Now, log: o.Logger,
		declared: make(map[Key]bool, len(o.Declared)),
		lead:     make(chan struct{}, 1), asks: make(chan struct{}, maxAsks),
		failed: map[instanceKey]failure{}, flights: map[Key]*flight{},
	}
	for _, key := range o.Declared {
		if key.Namespace == "" {
			key.Namespace = o.Namespace
		}
		r.declared[key] = true
	}
	if r.patience <= 0 {
		r.patience = defaultResolveTimeout
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.started = r.now()
	if o.Now == nil {
		r.elapsed = func() time.Duration { return time.Since(r.started) } // reads one clock, not two
	} else {
		r.elapsed = func() time.Duration { return r.now().Sub(r.started) }
	}
	r.table.Store(&map[Key]*slot{})
	return r
}

// Endpoints returns the instances of key, whatever their state, those of the
// first source first. A known name is a read of the table, and is answered at
// once even if it has no instances now: how long to wait for it is the
// caller's to decide, with Changed. For any other name the network is asked:
// as long as the sources' patience for one nobody has ever seen, up to
// ResolveTimeout for one that answered long ago. No instances is no error; the
// only error is ctx's cause. The slice is shared and must not be changed.
func (r *Resolver) Endpoints(ctx context.Context, key Key) ([]Endpoint, error) {
	if a := r.current(key); len(a.endpoints) > 0 {
		return a.endpoints, nil
	}
	a := r.revalidate(key)
	if len(a.endpoints) == 0 && !a.present && !r.declared[key] && !r.seen.Lately(key) {
		a = r.search(ctx, key, a)
	}
	if len(a.endpoints) == 0 && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return a.endpoints, nil
}

// Present returns the instances of key that the table has, as Endpoints does
// for a known name, and nothing for a name that would have to be asked for. As
// long as nothing has changed it is the same slice.
func (r *Resolver) Present(key Key) []Endpoint { return r.current(key).endpoints }

// Version numbers the present answer for key, for Changed.
func (r *Resolver) Version(key Key) uint64 { return r.current(key).number }

// Known reports whether key may be expected to come: it has an instance,
// answered within the last day, or was declared.
func (r *Resolver) Known(key Key) bool {
	return r.declared[key] || r.seen.Lately(key) || r.current(key).present || r.revalidate(key).present
}

// Answered remembers that key answered just now.
func (r *Resolver) Answered(key Key) { r.seen.Note(key) }

// current returns the table's answer if it was valid within tableAge, and asks the
// sources' versions otherwise. While one caller asks, others get what there is.
func (r *Resolver) current(key Key) *answer {
	s := (*r.table.Load())[key]
	if s == nil {
		return nothing
	}
	since := r.elapsed()
	checked := s.checked.Load()
	if since-time.Duration(checked) < tableAge || !s.checked.CompareAndSwap(checked, int64(since)) {
		return s.answer.Load()
	}
	return r.revalidate(key)
}

// revalidate compares the table's answer with the sources and returns the
// valid one. A name without instances gets no place in the table, unless
// somebody waits for it.
func (r *Resolver) revalidate(key Key) *answer {
	for {
		since := r.elapsed()
		versions := r.versions()
		s := (*r.table.Load())[key]
		old := nothing
		if s != nil {
			old = s.answer.Load()
			if slices.Equal(old.versions, versions) && (old.until.IsZero() || r.now().Before(old.until)) {
				s.checked.Store(int64(since))
				return old
			}
		}
		fresh := r.lookup(key)
		fresh.versions = versions
		if s == nil {
			if !fresh.present {
				return nothing
			}
			r.place(key)
			continue // it is in the table now, and will be filled
		}
		if r.replace(key, s, old, fresh) {
			s.checked.Store(int64(since))
			return fresh
		}
	}
}

// replace puts fresh in old's place and wakes those who wait, unless somebody
// else was faster.
func (r *Resolver) replace(key Key, s *slot, old, fresh *answer) bool {
	same := old.number != 0 && equalEndpoints(old.endpoints, fresh.endpoints)
	if same {
		fresh.number, fresh.replaced = old.number, old.replaced
	} else {
		fresh.number, fresh.replaced = r.number.Add(1), make(chan struct{})
	}
	if !s.answer.CompareAndSwap(old, fresh) {
		return false
	}
	if !same {
		if old.replaced != nil {
			close(old.replaced)
		}
		r.log.Debug("instances changed", "app", key.App, "namespace", key.Namespace, "instances", len(fresh.endpoints))
	}
	return true
}

func (r *Resolver) versions() []uint64 {
	versions := make([]uint64, len(r.sources))
	for i, s := range r.sources {
		versions[i] = s.Version()
	}
	return versions
}

// lookup merges what the sources know of key. Of an instance that several
// know the first one's word counts, by its id, else by its addresses.
func (r *Resolver) lookup(key Key) *answer {
	a := &answer{}
	for _, s := range r.sources {
		for _, e := range s.Lookup(key) {
			if len(e.Addrs) == 0 || slices.ContainsFunc(a.endpoints, func(known Endpoint) bool { return sameInstance(known, e) }) {
				continue
			}
			if e.Source == "" {
				e.Source = s.Name()
			}
			a.endpoints = append(a.endpoints, e)
		}
	}
	a.present = len(a.endpoints) > 0
	a.endpoints, a.until = r.withoutFailing(a.endpoints)
	return a
}

// sameInstance reports whether a and b are one instance. A peer from a list
// has no id before it is called; its address tells.
func sameInstance(a, b Endpoint) bool {
	if a.Instance != "" && b.Instance != "" {
		return a.Instance == b.Instance
	}
	return slices.ContainsFunc(b.Addrs, func(addr addrPort) bool { return slices.Contains(a.Addrs, addr) })
}

// place gives key a place in the table.
func (r *Resolver) place(key Key) *slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.placeLocked(key)
}

func (r *Resolver) placeLocked(key Key) *slot {
	old := *r.table.Load()
	if s := old[key]; s != nil {
		return s
	}
	table := make(map[Key]*slot, len(old)+1)
	for k, s := range old {
		if len(old) < maxNames || s.waiters > 0 || s.answer.Load().present {
			table[k] = s
		}
	}
	s := &slot{}
	s.answer.Store(nothing)
	table[key] = s
	r.table.Store(&table)
	return s
}

func equalEndpoints(a, b []Endpoint) bool {
	return slices.EqualFunc(a, b, func(a, b Endpoint) bool {
		return a.Key == b.Key && a.Instance == b.Instance && a.State == b.State &&
			a.Local == b.Local && a.Source == b.Source && slices.Equal(a.Addrs, b.Addrs)
	})
}

// Keys lists the names in the table, for tests and for people.
func (r *Resolver) Keys() []Key { return slices.Collect(maps.Keys(*r.table.Load())) }
