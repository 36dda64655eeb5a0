package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// origins are the allowed ones. The zero value allows none and says nothing.
type origins struct {
	any   bool
	list  []string // lower case
	wilds [][2]string
}

func parseOrigins(given []string) origins {
	var o origins
	for _, entry := range given {
		for origin := range strings.SplitSeq(entry, ",") {
			origin = strings.ToLower(strings.TrimSpace(origin))
			before, after, wild := strings.Cut(origin, "*")
			switch {
			case origin == "":
			case origin == "*":
				o.any = true
			case wild:
				o.wilds = append(o.wilds, [2]string{before, after})
			default:
				o.list = append(o.list, strings.TrimSuffix(origin, "/"))
			}
		}
	}
	return o
}

func (o *origins) on() bool { return o.any || len(o.list) > 0 || len(o.wilds) > 0 }

func (o *origins) allows(origin string) bool {
	if o.any {
		return true
	}
	origin = strings.ToLower(origin)
	if slices.Contains(o.list, origin) {
		return true
	}
	return slices.ContainsFunc(o.wilds, func(w [2]string) bool {
		return len(origin) >= len(w[0])+len(w[1]) && strings.HasPrefix(origin, w[0]) && strings.HasSuffix(origin, w[1])
	})
}

// corsMethods are those Dapr grants.
var corsMethods = []string{"HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"}

// grantable reports whether a page may use a verb. OPTIONS is how it asks.
func grantable(verb string) bool {
	verb = strings.ToUpper(verb)
	return verb == http.MethodOptions || slices.Contains(corsMethods, verb)
}

// answer adds what pages of an allowed origin need to read the answer, and
// answers a preflight, as Dapr's --allowed-origins does. It reports whether
// the request has been answered.
func (o *origins) answer(w http.ResponseWriter, r *http.Request, a *ask) (done bool) {
	if !o.on() {
		return false
	}
	origin, wanted, preflight := a.origin, a.corsMethod, a.preflight()
	h := w.Header()
	h.Add("Vary", "Origin")
	if preflight {
		h.Add("Vary", "Access-Control-Request-Method")
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	if origin == "" || !o.allows(origin) {
		if preflight {
			w.WriteHeader(http.StatusOK)
		}
		return preflight
	}
	if verb := r.Method; !preflight && !grantable(verb) {
		return false
	}
	if preflight && !grantable(wanted) {
		w.WriteHeader(http.StatusOK)
		return true
	}
	if o.any {
		origin = "*"
	}
	h.Set(corsOrigin, origin)
	if !preflight {
		return false
	}
	h.Set("Access-Control-Allow-Methods", strings.ToUpper(wanted))
	if fields := fieldNames(r.Header.Get("Access-Control-Request-Headers")); len(fields) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(fields, ", "))
	}
	w.WriteHeader(http.StatusOK)
	return true
}

// fieldNames are the names in a list, in their usual form.
func fieldNames(list string) []string {
	var names []string
	for name := range strings.FieldsFuncSeq(list, func(c rune) bool { return c == ' ' || c == ',' }) {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	return names
}

// grant is what pages of an allowed origin need to read an answer, for a
// request that is no preflight.
func (o *origins) grant(origin, verb string) invoke.Fields {
	fields := invoke.Fields{{Name: "Vary", Value: "Origin"}}
	switch {
	case origin == "" || !o.allows(origin) || !grantable(verb):
	case o.any:
		fields.Add(corsOrigin, "*")
	default:
		fields.Add(corsOrigin, origin)
	}
	return fields
}

// corsOrigin, once set by us, replaces what an app says.
const corsOrigin = "Access-Control-Allow-Origin"
