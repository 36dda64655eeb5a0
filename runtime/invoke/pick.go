package invoke

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/pillion-dev/pillion/discovery"
)

// A balancer counts the calls open at each instance. Its zero value is ready.
type balancer struct {
	mu   sync.Mutex // guards what follows
	open map[string]int
}

// acquire chooses the less busy of two random instances and counts a call for
// it. release uncounts it and must be called once. from is not empty.
func (b *balancer) acquire(from []discovery.Endpoint) (to discovery.Endpoint, release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = make(map[string]int)
	}
	to = from[0]
	if n := len(from); n > 1 {
		i, j := rand.IntN(n), rand.IntN(n-1) //nolint:gosec // a choice, not a secret
		if j >= i {
			j++
		}
		to = from[i]
		if b.open[instanceOf(from[j])] < b.open[instanceOf(to)] {
			to = from[j]
		}
	}
	name := instanceOf(to)
	b.open[name]++
	return to, func() { b.drop(name) }
}

func (b *balancer) drop(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[name]--; b.open[name] <= 0 {
		delete(b.open, name)
	}
}

// instanceOf names an instance, also one that has not told its id yet.
func instanceOf(e discovery.Endpoint) string {
	if e.Instance != "" || len(e.Addrs) == 0 {
		return e.Instance
	}
	return e.Addrs[0].String()
}

// A choice is what is left to choose from.
type choice struct {
	from []discovery.Endpoint // equally good; empty if there is none
	// only is true if from holds all that could still take the call, and that
	// is one instance.
	only bool
	// unhealthy is true if there are instances, and all say they are unhealthy.
	unhealthy bool
}

// choose sorts out which instances a call may go to: the ready before those
// that hold, those before the draining; this machine's first; none that was
// tried.
func choose(all []discovery.Endpoint, tried []string) choice {
	var ready, holding, draining []discovery.Endpoint
	sick, local := 0, false
	for _, e := range all {
		switch e.State {
		case discovery.Unhealthy:
			sick++
			continue
		case discovery.Starting, discovery.Restarting, discovery.Draining, discovery.Ready, "":
		}
		if len(e.Addrs) == 0 || slices.Contains(tried, instanceOf(e)) {
			continue
		}
		switch {
		case e.State.Holds():
			holding = append(holding, e)
		case e.State == discovery.Draining:
			draining = append(draining, e)
		default:
			ready = append(ready, e)
			local = local || e.Local
		}
	}
	switch {
	case len(ready) > 0:
		only := len(ready) == 1 && len(holding) == 0
		if local {
			ready = slices.DeleteFunc(ready, func(e discovery.Endpoint) bool { return !e.Local })
		}
		return choice{from: ready, only: only}
	case len(holding) > 0:
		return choice{from: holding, only: true}
	case len(draining) > 0:
		return choice{from: draining, only: true}
	default:
		return choice{unhealthy: sick > 0 && sick == len(all)}
	}
}
