package external

import (
	"net/http"
)

// maxRedirects is how many an HTTPEndpoint may make of one call, as Go's client
// follows and so Dapr's.
const maxRedirects = 10

// redirect is where resp sends the call, and as what. ok is false for an answer
// that is the caller's: raw targets are not followed, and neither is anybody
// with a body that cannot be sent again.
func (x *exchange) redirect(resp *http.Response, from location, r request) (to location, again request, ok bool) {
	where := resp.Header.Get("Location")
	if !x.to.follow || where == "" {
		return location{}, request{}, false
	}
	again = r
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if r.verb != http.MethodGet && r.verb != http.MethodHead {
			again = request{verb: http.MethodGet, body: body{whole: true}}
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if !r.body.whole {
			return location{}, request{}, false
		}
	default:
		return location{}, request{}, false
	}
	to, ok = from.at(where)
	if !again.body.whole { // a GET with a body
		again.body = body{whole: true}
	}
	return to, again, ok
}
