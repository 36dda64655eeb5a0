package httpapi

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// hostSet are the names, in lower case, that a door answers to besides
// addresses and localhost.
func hostSet(own string, allowed []string) map[string]bool {
	set := make(map[string]bool)
	if own != "" {
		short, _, _ := strings.Cut(own, ".")
		set[strings.ToLower(own)], set[strings.ToLower(short)] = true, true
	}
	for _, host := range allowed {
		set[strings.ToLower(hostName(strings.TrimSpace(host)))] = true
	}
	delete(set, "")
	return set
}

// hostName is the host of an authority, without port, brackets and final dot.
func hostName(authority string) string {
	host := authority
	if h, _, err := net.SplitHostPort(authority); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.TrimSuffix(host, ".")
}

// isLocalName reports whether name is localhost or below it (RFC 6761 §6.3).
func isLocalName(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// denyOrigin refuses what a web page sends. A page's name that resolves to
// this machine (DNS rebinding) is known by the Host it brings; a request
// across origins by Origin and Sec-Fetch-Site, which pages cannot forge. The
// two fields that excuse the latter cannot be sent across origins without a
// preflight, and none is granted unasked.
func (s *Server) denyOrigin(a *ask) *apperr.Error {
	if name := hostName(a.host); !s.answersTo(name) {
		return &apperr.Error{
			Reason:  apperr.OriginDenied,
			What:    "requests addressed to " + printable(name) + " are not answered here",
			Cause:   "a web page of any origin could send them",
			Hint:    "allow the name with --allowed-hosts " + printable(name),
			Reached: apperr.ReachedNo,
		}
	}
	return s.denyPage(a)
}

// denyPage refuses what a page of another origin sends to a name we answer to.
func (s *Server) denyPage(a *ask) *apperr.Error {
	origin := a.origin
	if origin == "" && a.fetchSite == "" {
		return nil
	}
	foreign := origin != "" && !sameOrigin(origin, a.host) && !loopbackOrigin(origin)
	switch strings.ToLower(a.fetchSite) {
	case "cross-site", "same-site":
		foreign = true
	}
	if !foreign || s.origins.allows(origin) || a.app != "" || a.token != "" {
		return nil
	}
	e := &apperr.Error{
		Reason:  apperr.OriginDenied,
		What:    "web pages of " + printable(origin) + " may not call this sidecar",
		Hint:    "allow them with --allowed-origins " + printable(origin),
		Reached: apperr.ReachedNo,
	}
	if origin == "" || origin == "null" {
		e.What = "web pages of another site may not call this sidecar"
		e.Hint = "allow their origin with --allowed-origins, or send the field dapr-app-id"
	}
	return e
}

func (s *Server) answersTo(name string) bool {
	if name == "" || isLocalName(name) {
		return true // HTTP/1.0 has no Host, and no browser speaks it
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return s.hosts[strings.ToLower(name)] || s.hosts["*"]
}

// sameOrigin reports whether a page of origin was served by the host it now
// asks, whose name has been checked.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func loopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null" is anybody
	}
	name := strings.TrimSuffix(u.Hostname(), ".")
	if isLocalName(name) {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// printable is text from outside as it may be shown: cut short, and without
// what a terminal would obey.
func printable(s string) string {
	const limit = 100
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return strings.Map(func(c rune) rune {
		if c < 0x20 || c >= 0x7f {
			return '?'
		}
		return c
	}, s)
}

// tokenGood checks the API token of a request for path, as builtinPath has it.
func (s *Server) tokenGood(a *ask, path string) bool {
	if s.cfg.APIToken == "" {
		return true
	}
	if a.verb == http.MethodGet && (path == pathHealth || path == pathOutbound) {
		return true
	}
	return subtle.ConstantTimeCompare([]byte(a.token), []byte(s.cfg.APIToken)) == 1
}

// denyUser refuses connections of other users of this machine.
func (d *door) denyUser(r *http.Request) *apperr.Error {
	c := connOf(r)
	if !d.checkUsers || c == nil {
		return nil
	}
	return c.denyUser()
}

// checksUsers reports whether the users behind ln's connections can and must
// be found out.
func (s *Server) checksUsers(ln net.Listener) bool {
	if s.cfg.AllowOtherUsers {
		return false
	}
	addr, tcp := ln.Addr().(*net.TCPAddr)
	if !tcp {
		return tellsUnixPeers // and a Unix socket has a file mode
	}
	if err := peerCheck(addr); err != nil {
		s.warnUsers.Do(func() {
			s.log.Warn("other users of this machine can use the doors: this system does not tell who connects", "err", err)
		})
		return false
	}
	return true
}
