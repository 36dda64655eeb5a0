package invoke

import (
	"slices"

	"github.com/pillion-dev/pillion/discovery"
)

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
// tried, and none of the ready that is out, unless all are. A nil out is for
// none.
func choose(all []discovery.Endpoint, tried []string, out func(discovery.Endpoint) bool) choice {
	var ready, holding, draining []discovery.Endpoint
	sick := 0
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
		}
	}
	switch {
	case len(ready) > 0:
		only := len(ready) == 1 && len(holding) == 0
		if out != nil {
			ready = unlessAll(ready, out)
		}
		return choice{from: unlessAll(ready, func(e discovery.Endpoint) bool { return !e.Local }), only: only}
	case len(holding) > 0:
		return choice{from: holding, only: true}
	case len(draining) > 0:
		return choice{from: draining, only: true}
	default:
		return choice{unhealthy: sick > 0 && sick == len(all)}
	}
}

// unlessAll drops those for which drop is true, unless it is for all. It changes
// from.
func unlessAll(from []discovery.Endpoint, drop func(discovery.Endpoint) bool) []discovery.Endpoint {
	if !slices.ContainsFunc(from, func(e discovery.Endpoint) bool { return !drop(e) }) {
		return from
	}
	return slices.DeleteFunc(from, drop)
}
