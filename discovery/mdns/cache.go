package mdns

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
)

const (
	// maxCached bounds the instances that are remembered.
	maxCached = 4096
	// A record is refreshed when this much of its life is over, if somebody
	// still looks it up.
	refreshAt = 0.8
	// replayGrace is how much older than what is known a record may claim to
	// be: its instance and the responder of its machine stamp it at slightly
	// different moments. Anything older is somebody's recording.
	replayGrace = 5 * time.Second
	// never is the time of an event that does not come.
	never = int64(1<<63 - 1)
)

// A cache is what was heard of instances. It is safe for concurrent use.
type cache struct {
	version atomic.Uint64
	// next is when the first record expires or wants to be refreshed, in Unix
	// nanoseconds: whoever asks for the version after that, or adds, moves the
	// cache on.
	next atomic.Int64

	mu    sync.Mutex // guards what follows
	known map[string]*heard
}

// heard is one instance.
type heard struct {
	endpoint discovery.Endpoint
	epoch    time.Time
	expires  time.Time
	refresh  time.Time
	told     bool // the version has changed since refresh
	gone     bool // it said goodbye; there is no endpoint
}

func newCache() *cache {
	c := &cache{known: map[string]*heard{}}
	c.next.Store(never)
	return c
}

// add takes in what r says. It reports whether that was news.
func (c *cache) add(k *keys, r record, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.UnixNano() >= c.next.Load() {
		c.turn(now) // perhaps nobody asks: what has expired must go all the same
	}
	old := c.known[r.instance]
	if old != nil && (old.gone || r.epoch.Before(old.epoch.Add(-replayGrace))) {
		return false
	}
	if r.state == gone {
		if old == nil {
			return false
		}
		// What stays for a moment keeps answers that are under way from
		// bringing it back. An id is not used twice.
		c.known[r.instance] = &heard{gone: true, epoch: r.epoch, told: true, expires: now.Add(replayGrace)}
		c.schedule(c.known[r.instance])
		c.version.Add(1)
		return true
	}
	e, ok := k.endpoint(r)
	if !ok || old == nil && len(c.known) >= maxCached {
		return false
	}
	life := ttl(r.state)
	fresh := &heard{
		endpoint: e, epoch: r.epoch,
		expires: now.Add(life), refresh: now.Add(time.Duration(refreshAt * float64(life))),
	}
	c.known[r.instance] = fresh
	c.schedule(fresh)
	if old != nil && sameEndpoint(old.endpoint, e) {
		return false
	}
	c.version.Add(1)
	return true
}

// drop forgets an instance.
func (c *cache) drop(instance string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.known[instance]; h != nil && !h.gone {
		delete(c.known, instance)
		c.version.Add(1)
	}
}

// lookup returns the instances of key, and whether it is time to ask for them
// again because one of them is soon forgotten.
func (c *cache) lookup(key discovery.Key, now time.Time) (found []discovery.Endpoint, stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.known {
		if h.gone || h.endpoint.Key != key || !now.Before(h.expires) {
			continue
		}
		found = append(found, clone(h.endpoint))
		stale = stale || !now.Before(h.refresh)
	}
	sortEndpoints(found)
	return found, stale
}

func (c *cache) all(now time.Time) []discovery.Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []discovery.Endpoint
	for _, h := range c.known {
		if !h.gone && now.Before(h.expires) {
			all = append(all, clone(h.endpoint))
		}
	}
	sortEndpoints(all)
	return all
}

// present is the version now: it moves on when a record's time has come.
// A changed version is also how the resolver is made to look a name up again,
// which is how a name is known to be in use.
func (c *cache) present(now time.Time) uint64 {
	if now.UnixNano() >= c.next.Load() {
		c.mu.Lock()
		c.turn(now)
		c.mu.Unlock()
	}
	return c.version.Load()
}

// turn drops what has expired and tells what wants to be refreshed. Callers
// hold mu.
func (c *cache) turn(now time.Time) {
	changed := false
	maps.DeleteFunc(c.known, func(_ string, h *heard) bool {
		expired := !now.Before(h.expires)
		changed = changed || expired && !h.gone
		return expired
	})
	c.next.Store(never)
	for _, h := range c.known {
		if !h.told && !now.Before(h.refresh) {
			h.told, changed = true, true
		}
		c.schedule(h)
	}
	if changed {
		c.version.Add(1)
	}
}

// schedule brings next forward to what h waits for. Callers hold mu.
func (c *cache) schedule(h *heard) {
	at := h.refresh
	if h.told {
		at = h.expires
	}
	if at.UnixNano() < c.next.Load() {
		c.next.Store(at.UnixNano())
	}
}

func clone(e discovery.Endpoint) discovery.Endpoint {
	e.Addrs = slices.Clone(e.Addrs)
	return e
}

func sameEndpoint(a, b discovery.Endpoint) bool {
	return a.Key == b.Key && a.State == b.State && a.Local == b.Local && slices.Equal(a.Addrs, b.Addrs)
}

// sortEndpoints gives answers an order of their own, so that equal ones are.
func sortEndpoints(endpoints []discovery.Endpoint) {
	slices.SortFunc(endpoints, func(a, b discovery.Endpoint) int {
		switch {
		case a.Instance < b.Instance:
			return -1
		case a.Instance > b.Instance:
			return 1
		}
		return 0
	})
}
