package invoke

import (
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/tls/identity"
)

// maxUpstreams bounds the apps an Invoker remembers. Beyond it the counts of
// open calls begin anew, which costs nothing but balance.
const maxUpstreams = 4096

// noteEvery is how often it is noted that an app answers, in seconds: what is
// remembered of it counts days.
const noteEvery = 10

// upstreams are the apps that are called. Its zero value is ready.
type upstreams struct {
	known atomic.Pointer[map[discovery.Key]*upstream] // replaced whole
	mu    sync.Mutex                                  // held by who replaces it
}

// of returns the app of key, who must prove to be want.
func (u *upstreams) of(key discovery.Key, want identity.ID) *upstream {
	if known := u.known.Load(); known != nil {
		if one := (*known)[key]; one != nil {
			return one
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	fresh := map[discovery.Key]*upstream{}
	if known := u.known.Load(); known != nil {
		if one := (*known)[key]; one != nil {
			return one
		}
		if len(*known) < maxUpstreams {
			maps.Copy(fresh, *known)
		}
	}
	one := &upstream{want: want, open: map[string]*atomic.Int64{}}
	fresh[key] = one
	u.known.Store(&fresh)
	return one
}

// An upstream is an app that is called, and how busy its instances are.
type upstream struct {
	want identity.ID
	// first is what a call that has tried nothing yet may choose from, made of
	// the answer that the resolver gave last.
	first atomic.Pointer[ranking]
	noted atomic.Int64 // when it was last said to have answered, in Unix seconds
	// allowance is how many calls may be repeated.
	allowance allowance

	mu   sync.Mutex               // guards what follows
	open map[string]*atomic.Int64 // calls open at each instance
}

// answered reports whether it is time to say again that the app answers.
func (u *upstream) answered(at time.Time) bool {
	now, last := at.Unix(), u.noted.Load()
	return now/noteEvery != last/noteEvery && u.noted.CompareAndSwap(last, now)
}

// A ranking is what there is to choose from, with the counts of open calls. It
// is never changed.
type ranking struct {
	of []discovery.Endpoint // what it was made of
	choice
	open []*atomic.Int64 // beside choice.from
}

// rank sorts out what a call may choose from. The resolver shares its answers,
// so the work is done once for each, however many instances there are. found is
// not empty.
func (u *upstream) rank(found []discovery.Endpoint, tried []string) *ranking {
	if len(tried) > 0 {
		return u.newRanking(found, tried)
	}
	if r := u.first.Load(); r != nil && len(r.of) == len(found) && &r.of[0] == &found[0] {
		return r
	}
	r := u.newRanking(found, nil)
	u.first.Store(r)
	return r
}

var noInstances ranking // never changed

func (u *upstream) newRanking(found []discovery.Endpoint, tried []string) *ranking {
	r := &ranking{of: found, choice: choose(found, tried)}
	r.open = make([]*atomic.Int64, len(r.from))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget(found)
	for i := range r.from {
		name := instanceOf(r.from[i])
		count := u.open[name]
		if count == nil {
			count = new(atomic.Int64)
			u.open[name] = count
		}
		r.open[i] = count
	}
	return r
}

// forget drops the counts of instances that are not found any more once they
// outnumber those that are. Callers hold mu.
func (u *upstream) forget(found []discovery.Endpoint) {
	if len(u.open) <= 2*len(found) {
		return
	}
	here := make(map[string]bool, len(found))
	for _, e := range found {
		here[instanceOf(e)] = true
	}
	maps.DeleteFunc(u.open, func(name string, count *atomic.Int64) bool { return !here[name] && count.Load() == 0 })
}

// pick chooses the less busy of two random instances and counts a call for it.
// Whoever takes it subtracts it from open again. There must be a choice.
func (r *ranking) pick() (to *discovery.Endpoint, open *atomic.Int64) {
	i := 0
	if n := len(r.from); n > 1 {
		var j int
		i, j = rand.IntN(n), rand.IntN(n-1) //nolint:gosec // a choice, not a secret
		if j >= i {
			j++
		}
		if r.open[j].Load() < r.open[i].Load() {
			i = j
		}
	}
	r.open[i].Add(1)
	return &r.from[i], r.open[i]
}
