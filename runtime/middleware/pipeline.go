// Package middleware is Dapr's HTTP pipeline: the components that a request at
// the HTTP door passes before it is looked at. It has the small ones.
package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

// A Handler passes requests on to the next, perhaps changed, or answers them.
type Handler = func(next http.Handler) http.Handler

// prefix begins the types of all middlewares.
const prefix = "middleware.http."

// makers are the middlewares there are, by type.
var makers = map[string]func(config.Component) (Handler, error){
	prefix + "ratelimit":     newRateLimit,
	prefix + "routeralias":   newRouterAlias,
	prefix + "routerchecker": newRouterChecker,
	prefix + "uppercase":     newUppercase,
}

// guards are middlewares that keep requests out. Without them nothing may come
// in: they stand for a decision of who made the Configuration.
var guards = []string{prefix + "bearer", prefix + "oauth2", prefix + "opa"}

// Known reports whether a component's type is one of these middlewares.
func Known(kind string) bool { return makers[strings.ToLower(kind)] != nil }

// New makes the pipeline of the handlers of a Configuration from the components
// there are. It is nil if nothing is left to do. Notes say, once each, what is
// not done; the error is a mistake in a component.
func New(handlers []config.Handler, components []config.Component) (pipeline Handler, notes []string, err error) {
	var chain []Handler
	var errs []error
	for _, h := range handlers {
		one, note, err := handler(h, components)
		errs = append(errs, err)
		if note != "" {
			notes = append(notes, note)
		}
		if one != nil {
			chain = append(chain, one)
		}
	}
	if len(chain) == 0 {
		return nil, notes, errors.Join(errs...)
	}
	return func(next http.Handler) http.Handler {
		for _, h := range slices.Backward(chain) {
			next = h(next)
		}
		return next
	}, notes, errors.Join(errs...)
}

// handler makes one of the pipeline's. A nil Handler is left out, and the note
// says why.
func handler(h config.Handler, components []config.Component) (one Handler, note string, err error) {
	kind := strings.ToLower(h.Type)
	at := slices.IndexFunc(components, func(c config.Component) bool { return c.Name == h.Name && strings.EqualFold(c.Type, h.Type) })
	switch {
	case slices.Contains(guards, kind):
		note = fmt.Sprintf("%s: httpPipeline: this version has no %s: requests that would have to pass %s are refused", h.At, h.Type, h.Name)
		return refuse(h), note, nil
	case makers[kind] == nil:
		return nil, fmt.Sprintf("%s: httpPipeline: this version has no %s: requests pass without %s", h.At, h.Type, h.Name), nil
	case at < 0:
		return nil, fmt.Sprintf("%s: httpPipeline: there is no component %s of type %s: requests pass without it", h.At, h.Name, h.Type), nil
	}
	if one, err = makers[kind](components[at]); err != nil {
		c := components[at]
		return nil, "", &apperr.Error{
			Reason: apperr.OwnConfig, What: fmt.Sprintf("%s: Component %s: %v", c.At, c.Name, err), Err: err,
		}
	}
	return one, "", nil
}

// refuse answers in place of a guard that does not exist here.
func refuse(h config.Handler) Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			say(w, http.StatusNotImplemented, "the httpPipeline asks for "+h.Type+", which this version does not have: "+
				"take "+h.Name+" out of the Configuration to let requests in without it")
		})
	}
}

// say answers with a text, as Dapr's middlewares do.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a client that is gone cannot be told
}
