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

// maxOut bounds the instances that are remembered because they are left out,
// though nobody finds them any more.
const maxOut = 64

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
	one := &upstream{want: want, members: map[string]*member{}}
	fresh[key] = one
	u.known.Store(&fresh)
	return one
}

// An upstream is an app that is called, and how busy and how well its instances
// are.
type upstream struct {
	want identity.ID
	// first is what a call that has tried nothing yet may choose from, made of
	// the answer that the resolver gave last.
	first atomic.Pointer[ranking]
	noted atomic.Int64 // when it was last said to have answered, in Unix seconds
	// allowance is how many calls may be repeated.
	allowance allowance

	mu      sync.Mutex           // guards what follows, and the replacing of first
	found   []discovery.Endpoint // what the resolver gave last
	members map[string]*member
}

// A member is an instance of an upstream.
type member struct {
	open    atomic.Int64  // calls
	answers atomic.Uint64 // that it has given
	// well is true if the last attempt of which something is known went well: then
	// row and until are zero, and another one that does says nothing new.
	well atomic.Bool

	// Guarded by the upstream's mu:

	row          int       // failures, one after the other
	since, until time.Time // it is left out; zero: it is not
	trying       bool      // a call tries it
	times        int       // how often in a row it was left out
	back         time.Time // when that was over last
}

// answered reports whether it is time to say again that the app answers.
func (u *upstream) answered(at time.Time) bool {
	now, last := at.Unix(), u.noted.Load()
	return now/noteEvery != last/noteEvery && u.noted.CompareAndSwap(last, now)
}

// A ranking is what there is to choose from. It is never changed.
type ranking struct {
	of []discovery.Endpoint // what it was made of
	choice
	members []*member // beside choice.from
	due     time.Time // when an instance that is left out is to be tried; zero for none
	trial   bool      // this is for the call that tries
	out     bool      // all of them are left out
}

// rank sorts out what a call may choose from. The resolver shares its answers,
// so the work is done once for each, however many instances there are. found is
// not empty.
func (u *upstream) rank(found []discovery.Endpoint, tried []string) *ranking {
	if len(tried) == 0 {
		r := u.first.Load()
		if r != nil && len(r.of) == len(found) && &r.of[0] == &found[0] && (r.due.IsZero() || time.Now().Before(r.due)) {
			return r
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.found = found
	if len(tried) > 0 {
		return u.newRanking(found, tried)
	}
	now := time.Now()
	u.renew(found, now)
	all := choose(found, nil, nil)
	trial := u.trial(all, found, now)
	r := u.newRanking(found, nil)
	r.due = u.due(all)
	u.first.Store(r)
	if trial != nil {
		return trial
	}
	return r
}

var noInstances ranking // never changed

// newRanking is what is left of found without those tried. Callers hold mu.
func (u *upstream) newRanking(found []discovery.Endpoint, tried []string) *ranking {
	r := &ranking{of: found, choice: choose(found, tried, func(e discovery.Endpoint) bool {
		m := u.members[instanceOf(e)]
		return m != nil && m.out()
	})}
	r.members = make([]*member, len(r.from))
	u.forget(found)
	for i := range r.from {
		name := instanceOf(r.from[i])
		m := u.members[name]
		if m == nil {
			m = new(member)
			u.members[name] = m
		}
		r.members[i] = m
		r.out = m.out() // as the others are
	}
	return r
}

// due is when the first of those that are left out is to be tried; zero if none
// is. Callers hold mu.
func (u *upstream) due(all choice) (first time.Time) {
	for i := range all.from {
		m := u.members[instanceOf(all.from[i])]
		if m != nil && m.out() && (first.IsZero() || m.until.Before(first)) {
			first = m.until
		}
	}
	return first
}

// forget drops the members that are not found any more once they outnumber
// those that are. One that is left out may be back soon, and is remembered for a
// while. Callers hold mu.
func (u *upstream) forget(found []discovery.Endpoint) {
	if len(u.members) <= 2*len(found) {
		return
	}
	here := make(map[string]bool, len(found))
	for _, e := range found {
		here[instanceOf(e)] = true
	}
	now, few := time.Now(), len(u.members) <= 2*len(found)+maxOut
	maps.DeleteFunc(u.members, func(name string, m *member) bool {
		remembered := few && m.out() && now.Before(m.until.Add(firstOut))
		return !here[name] && m.open.Load() == 0 && !remembered
	})
}

// pick chooses the less busy of two random instances and counts a call for it.
// Whoever takes it subtracts it from open again. There must be a choice.
func (r *ranking) pick() (to *discovery.Endpoint, at *member) {
	i := 0
	if n := len(r.from); n > 1 {
		var j int
		i, j = rand.IntN(n), rand.IntN(n-1) //nolint:gosec // a choice, not a secret
		if j >= i {
			j++
		}
		if r.members[j].open.Load() < r.members[i].open.Load() {
			i = j
		}
	}
	r.members[i].open.Add(1)
	return &r.from[i], r.members[i]
}
