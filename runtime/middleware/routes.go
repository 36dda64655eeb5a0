package middleware

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/pillion-dev/pillion/runtime/config"
)

// newRouterChecker lets in requests whose path and query match a rule.
func newRouterChecker(c config.Component) (Handler, error) {
	text, _ := c.Property("rule")
	rule, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("metadata rule: %w", err)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !rule.MatchString(r.URL.RequestURI()) {
				say(w, http.StatusBadRequest, "invalid router")
				return
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// An alias is a path that stands for another one.
type alias struct {
	pattern *regexp.Regexp
	target  string
}

// newRouterAlias puts other paths in the place of some. What {name} in a path
// stands for becomes a query parameter.
func newRouterAlias(c config.Component) (Handler, error) {
	routes := maps.Clone(c.Metadata)
	if text, given := c.Property("routes"); given && len(routes) == 1 {
		routes = nil
		if err := yaml.Unmarshal([]byte(text), &routes); err != nil { // JSON is YAML
			return nil, errors.New("metadata routes: not JSON or YAML of paths and the paths they stand for")
		}
	}
	var aliases []alias
	// Those without parameters come first: what is said exactly counts more.
	for _, path := range slices.SortedFunc(maps.Keys(routes), exactFirst) {
		pattern, err := pathPattern(path)
		if err != nil || path == "" || routes[path] == "" {
			return nil, fmt.Errorf("metadata routes: %q is no path", path)
		}
		aliases = append(aliases, alias{pattern, routes[path]})
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, a := range aliases {
				if found := a.pattern.FindStringSubmatch(r.URL.Path); found != nil {
					r = a.rewritten(r, found)
					break
				}
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

func exactFirst(a, b string) int {
	return cmp.Or(cmp.Compare(strings.Count(a, "{"), strings.Count(b, "{")), cmp.Compare(a, b))
}

// parameters are {name} and {name:expression}.
var parameters = regexp.MustCompile(`\{(\w+)(?::([^{}]+))?\}`)

func pathPattern(path string) (*regexp.Regexp, error) {
	var b strings.Builder
	rest := path
	for _, at := range parameters.FindAllStringSubmatchIndex(path, -1) {
		expression := "[^/]+"
		if at[4] >= 0 {
			expression = path[at[4]:at[5]]
		}
		before := rest[:at[0]-(len(path)-len(rest))]
		fmt.Fprintf(&b, "%s(?P<%s>%s)", regexp.QuoteMeta(before), path[at[2]:at[3]], expression)
		rest = path[at[1]:]
	}
	return regexp.Compile("^" + b.String() + regexp.QuoteMeta(rest) + "$")
}

// rewritten is the request for what the path stands for.
func (a alias) rewritten(r *http.Request, found []string) *http.Request {
	r = r.WithContext(r.Context()) // shallow: the trailers come later
	asked := *r.URL
	r.URL = &asked
	query := r.URL.RawQuery
	if len(found) > 1 {
		values := r.URL.Query()
		for i, name := range a.pattern.SubexpNames() {
			if name != "" {
				values.Add(name, found[i])
			}
		}
		query = values.Encode()
	}
	path, own, _ := strings.Cut(a.target, "?")
	if own != "" {
		query = strings.TrimSuffix(own+"&"+query, "&")
	}
	r.URL.RawPath, r.URL.RawQuery = "", query
	if plain, err := url.PathUnescape(path); err == nil {
		r.URL.Path, r.URL.RawPath = plain, path
	} else {
		r.URL.Path = path
	}
	r.RequestURI = path
	if query != "" {
		r.RequestURI += "?" + query
	}
	return r
}
