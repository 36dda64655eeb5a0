package httpapi

import (
	"net/url"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/runtime/apilist"
	"github.com/pillion-dev/pillion/runtime/h1"
)

// An endpoint is one route of Dapr's HTTP API beside invocation.
type endpoint struct {
	verbs    string // one or more
	versions string // likewise: v1.0, v1.0-alpha1, …
	path     string // {name} is one segment, a last * everything that is left
	name     string // what the API log calls it when it hides paths; {name} as above
	answer   func(*apiRequest) h1.Reply
}

// group is the API an endpoint belongs to, as allow and deny lists name it.
func (e *endpoint) group() string {
	name, _, _ := strings.Cut(e.path, "/")
	return name
}

// A table is the endpoints that are offered, by version and group, such as
// v1.0/state, each in the order they are tried.
type table map[string][]*apiRoute

// An apiRoute is an endpoint taken apart.
type apiRoute struct {
	endpoint
	verbs    []string
	segments []string
}

// invocation is the API of calls, which is no endpoint.
var invocation = apilist.API{Name: "invoke", Version: "v1", Route: v1 + "/invoke/*"}

// newTable makes a table of those of all that the list offers. Health is always
// offered.
func newTable(all []endpoint, list apilist.List) table {
	t := make(table)
	for _, e := range all {
		r := &apiRoute{endpoint: e, verbs: strings.Fields(e.verbs), segments: strings.Split(e.path, "/")}
		for version := range strings.FieldsSeq(e.versions) {
			api := apilist.API{Name: e.group(), Version: listVersion(version), Route: version + "/" + e.path}
			if e.group() == groupHealth || list.Offers(api) {
				key := version + "/" + e.group()
				t[key] = append(t[key], r)
			}
		}
	}
	return t
}

// listVersion is a path's version as rules have it: v1, v1alpha1.
func listVersion(version string) string {
	return "v1" + strings.ReplaceAll(strings.TrimPrefix(version, versionPrefix), "-", "")
}

// only are the endpoints of some groups.
func (t table) only(groups ...string) table {
	left := make(table)
	for key, routes := range t {
		if _, group, _ := strings.Cut(key, "/"); slices.Contains(groups, group) {
			left[key] = routes
		}
	}
	return left
}

// find is the endpoint for a request, as apiPath has its path, and the values of
// its parameters. If it has none for this verb, verbs are those it has.
func (t table) find(verb, path string) (found *apiRoute, values, verbs []string) {
	segments := strings.Split(path, "/")
	if len(segments) < 2 {
		return nil, nil, nil
	}
	for _, r := range t[path[:len(segments[0])+1+len(segments[1])]] {
		values, ok := r.match(segments[1:])
		switch {
		case !ok:
		case slices.Contains(r.verbs, verb):
			return r, values, nil
		default:
			verbs = append(verbs, r.verbs...)
		}
	}
	return nil, nil, verbs
}

// match returns the values of the path's parameters, decoded, in order.
func (r *apiRoute) match(segments []string) (values []string, ok bool) {
	last := len(r.segments) - 1
	if r.segments[last] == "*" && len(segments) > last {
		segments = append(slices.Clone(segments[:last]), strings.Join(segments[last:], "/"))
	}
	if len(r.segments) != len(segments) {
		return nil, false
	}
	for i, want := range r.segments {
		if !isParam(want) {
			if want != segments[i] {
				return nil, false
			}
			continue
		}
		value, err := url.QueryUnescape(segments[i]) // as Dapr's: a plus is a space
		if err != nil {
			return nil, false
		}
		values = append(values, value)
	}
	return values, true
}

func isParam(segment string) bool { return segment == "*" || strings.HasPrefix(segment, "{") }

// param is the index of the parameter called name among the values, or -1.
func (r *apiRoute) param(name string) int {
	n := 0
	for _, segment := range r.segments {
		if segment == "{"+name+"}" {
			return n
		}
		if isParam(segment) {
			n++
		}
	}
	return -1
}

// logName is the endpoint's name for a request with these values.
func (r *apiRoute) logName(values []string) string {
	name, n := r.name, 0
	for _, segment := range r.segments {
		if isParam(segment) {
			name = strings.ReplaceAll(name, segment, values[n])
			n++
		}
	}
	return name
}
