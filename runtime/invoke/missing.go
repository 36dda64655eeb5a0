package invoke

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
)

// namesShown bounds the apps listed in "running here are".
const namesShown = 8

// exhausted is the error of a call that was held as long as it may be.
func (a *attempts) exhausted(found []discovery.Endpoint) *apperr.Error {
	if a.last == nil || len(found) == 0 {
		return a.notFound()
	}
	return a.last
}

func (a *attempts) unhealthy() *apperr.Error {
	return &apperr.Error{
		Reason:  apperr.AppUnhealthy,
		What:    a.key.App + " says it is not healthy",
		Cause:   "it fails its health check, or does not run and waits for a change of its files",
		Dapr:    "rpc error: code = Internal desc = app is not in a healthy state",
		Reached: apperr.ReachedNo,
	}
}

// notFound is Dapr's sentence, with what runs here and what may be meant.
func (a *attempts) notFound() *apperr.Error {
	app := a.c.Target.Given
	if app == "" {
		app = a.key.App
	}
	running, nearest := a.i.resolver.Near(a.key)
	where, here := "on this machine", "here"
	if a.i.lan {
		where, here = "on this machine or its network", "here and on the network"
	}
	e := &apperr.Error{
		Reason:  apperr.AppNotFound,
		What:    fmt.Sprintf("no app %q %s", app, where),
		Dapr:    "couldn't find service: " + app,
		Cause:   fmt.Sprintf("app-id %s not found: %s", app, listRunning(running, a.i.self.App(), here)),
		Hint:    "start it with: pillion run --app-id " + a.key.App + " -- <command>",
		Reached: apperr.ReachedNo,
	}
	if a.last != nil {
		e.Err = a.last
	}
	if a.held > 0 {
		e.Cause += ", after waiting " + short(a.held) + " for it to come"
	}
	if nearest != "" {
		e.Hint = "did you mean " + nearest + "?"
	}
	return e
}

// listRunning is the sentence of what runs, the caller itself first.
func listRunning(names []string, self, here string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if i := slices.Index(names, self); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, self)
	}
	switch {
	case len(names) == 0:
		return "nothing else is running " + here
	case len(names) == 1:
		return "running " + here + " is " + names[0]
	case len(names) > namesShown:
		return fmt.Sprintf("running %s are %s and %d more", here, strings.Join(names[:namesShown], ", "), len(names)-namesShown)
	default:
		return "running " + here + " are " + strings.Join(names, ", ")
	}
}
