package telemetry

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

// staticPaths are labels of their own, however few there are.
var staticPaths = map[string]bool{"/dapr/config": true, "/dapr/metrics": true, "/dapr/subscribe": true, "/healthz": true}

// verbs are the HTTP methods that are labels.
var verbs = map[string]bool{
	"GET": true, "PUT": true, "POST": true, "PATCH": true, "DELETE": true, "HEAD": true, "OPTIONS": true, "CONNECT": true, "TRACE": true,
}

// paths makes labels of paths and verbs.
type paths struct {
	increased    bool // a path that nothing matches is a label itself
	excludeVerbs bool
	patterns     *http.ServeMux // nil: no path matching
}

func newPaths(c config.Metrics) (p paths, err error) {
	p = paths{increased: c.IncreasedCardinality == nil || *c.IncreasedCardinality, excludeVerbs: c.ExcludeVerbs}
	if len(c.PathMatching) == 0 {
		return p, nil
	}
	p.patterns = http.NewServeMux()
	added := map[string]bool{}
	for _, given := range c.PathMatching {
		pattern := normalized(given)
		all := []string{pattern}
		if !strings.HasPrefix(pattern, "/v1.0/invoke/") {
			all = append(all, "/v1.0/invoke/{app_id}/method"+pattern)
		}
		for _, pattern := range all {
			if added[pattern] {
				continue
			}
			added[pattern] = true
			if err := p.add(pattern); err != nil {
				return p, &apperr.Error{
					Reason: apperr.OwnConfig, Err: err, Cause: err.Error(),
					What: fmt.Sprintf("pathMatching: %q is not a pattern that can be matched", given),
				}
			}
		}
	}
	return p, nil
}

// add is HandleFunc, which panics at a pattern it cannot take.
func (p *paths) add(pattern string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	p.patterns.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	return nil
}

// match is the pattern that path is one of, or "".
func (p *paths) match(path string) string {
	_, pattern := p.patterns.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
	return pattern
}

// label is a path's label.
func (p *paths) label(path string) string {
	if staticPaths[path] {
		return path
	}
	route := Route(path)
	if p.patterns != nil {
		if pattern := p.match(normalized(path)); pattern != "" {
			return pattern
		}
		if route != path {
			if pattern := p.match(normalized(route)); pattern != "" && pattern != "/" {
				return pattern
			}
		}
	}
	if !p.increased {
		return ""
	}
	return route
}

// one reports whether all paths but the static ones have the same label, so
// that nobody has to look at them.
func (p *paths) one() bool { return !p.increased && p.patterns == nil }

func (p *paths) verb(verb string) string {
	switch {
	case p.excludeVerbs:
		return ""
	case verbs[verb]:
		return verb
	default:
		return "UNKNOWN"
	}
}

// withoutQuery is a request target's path, raw.
func withoutQuery(target string) string {
	for i := range len(target) {
		if target[i] == '?' {
			return target[:i]
		}
	}
	return target
}

// plainPath is a raw path decoded, without its authority where it has one.
func plainPath(raw string) string {
	if !strings.HasPrefix(raw, "/") {
		if _, rest, found := strings.Cut(raw, "://"); found {
			_, path, _ := strings.Cut(rest, "/")
			raw = "/" + path
		}
	}
	if plain, err := url.PathUnescape(raw); err == nil {
		return plain
	}
	return raw
}
