package discovery

import (
	"net/netip"
	"slices"
	"time"
)

type addrPort = netip.AddrPort

const (
	// An instance that failed is left out for firstRest, twice as long after
	// each further failure, at most maxRest. A failure is forgotten when the
	// instance has been back for forgetAfter.
	firstRest   = 500 * time.Millisecond
	maxRest     = 8 * time.Second
	forgetAfter = 30 * time.Second
	// maxFailed bounds how many are remembered.
	maxFailed = 4096
)

// An instanceKey tells instances apart, also those without an id.
type instanceKey struct {
	Key
	instance string
	addr     addrPort
}

// A failure is an instance that could not be reached, as it was then. Once its
// source says something newer of it, it is given another chance at once.
type failure struct {
	was   Endpoint
	until time.Time
	rest  time.Duration
}

func keyOf(e Endpoint) instanceKey {
	k := instanceKey{Key: e.Key, instance: e.Instance}
	if e.Instance == "" && len(e.Addrs) > 0 {
		k.addr = e.Addrs[0]
	}
	return k
}

// Failed notes that e could not be reached or is not who it should be: it is
// left out until its source says something new of it or a short rest is over.
// The sources re-read what they know before Failed returns.
func (r *Resolver) Failed(e Endpoint) {
	now := r.now()
	r.mu.Lock()
	r.forget(now)
	key := keyOf(e)
	rest := firstRest
	if f, ok := r.failed[key]; ok && unchanged(f.was, e) {
		if rest = f.rest; !now.Before(f.until) { // else many calls fail of one cause
			rest = min(2*f.rest, maxRest)
		}
	}
	if len(r.failed) < maxFailed {
		r.failed[key] = failure{was: e, until: now.Add(rest), rest: rest}
	}
	r.mu.Unlock()

	r.log.Debug("instance failed", "app", e.App, "namespace", e.Namespace, "instance", e.Instance, "rest", rest)
	for _, s := range r.sources {
		if failer, ok := s.(Failer); ok {
			failer.Failed(e)
		}
	}
	r.refresh()
	r.reread(e.Key)
}

// refresh has the sources re-read what they know: an instance that was killed
// changes no version.
func (r *Resolver) refresh() {
	for _, s := range r.sources {
		if refresher, ok := s.(Refresher); ok {
			refresher.Refresh()
		}
	}
}

// reread replaces the answer for key, whatever the sources' versions are.
func (r *Resolver) reread(key Key) {
	for {
		s := (*r.table.Load())[key]
		if s == nil {
			return
		}
		old := s.answer.Load()
		versions := r.versions()
		fresh := r.lookup(key)
		fresh.versions = versions
		if r.replace(key, s, old, fresh) {
			return
		}
	}
}

// withoutFailing leaves the failing instances out, and says when the first of
// them is to be shown again.
func (r *Resolver) withoutFailing(all []Endpoint) (usable []Endpoint, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) == 0 {
		return all, time.Time{}
	}
	now := r.now()
	usable = slices.DeleteFunc(all, func(e Endpoint) bool {
		f, ok := r.failed[keyOf(e)]
		if !ok || !now.Before(f.until) || !unchanged(f.was, e) {
			return false
		}
		if until.IsZero() || f.until.Before(until) {
			until = f.until
		}
		return true
	})
	return usable, until
}

// forget drops the failures that are long over. Callers hold mu.
func (r *Resolver) forget(now time.Time) {
	for key, f := range r.failed {
		if now.Sub(f.until) > forgetAfter {
			delete(r.failed, key)
		}
	}
}

// unchanged reports whether a source says the same of an instance as before.
func unchanged(was, is Endpoint) bool {
	return was.State == is.State && slices.Equal(was.Addrs, is.Addrs)
}
