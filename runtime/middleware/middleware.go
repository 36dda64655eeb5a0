// Package middleware is Dapr's HTTP pipeline: the components that a request at
// the HTTP door passes before it is looked at. It has the small ones.
package middleware

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/runtime/config"
)

// A Handler passes requests on to the next, perhaps changed, or answers them.
type Handler = func(next http.Handler) http.Handler

// makers are the middlewares there are, by type.
var makers = map[string]func(config.Component) (Handler, error){
	"middleware.http.ratelimit":     newRateLimit,
	"middleware.http.routeralias":   newRouterAlias,
	"middleware.http.routerchecker": newRouterChecker,
	"middleware.http.uppercase":     newUppercase,
}

// Known reports whether a component's type is one of these middlewares.
func Known(kind string) bool { return makers[strings.ToLower(kind)] != nil }

// New makes the middleware of a component whose type is known.
func New(c config.Component) (Handler, error) { return makers[strings.ToLower(c.Type)](c) }

// Chain is one handler of several: requests pass them in their order. It is nil
// without any.
func Chain(handlers []Handler) Handler {
	if len(handlers) == 0 {
		return nil
	}
	return func(next http.Handler) http.Handler {
		for _, h := range slices.Backward(handlers) {
			next = h(next)
		}
		return next
	}
}

// say answers with a text, as Dapr's middlewares do.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a client that is gone cannot be told
}
