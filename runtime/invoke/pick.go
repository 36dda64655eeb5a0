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
