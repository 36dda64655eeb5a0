package external

import (
	"net/url"
	"strings"
)

// A location is where a request goes: scheme, host with port, and the raw
// target behind them.
type location struct {
	scheme, host string
	target       string // begins with a slash, query included; * for OPTIONS *
}

// place is the location of path below base, which invoke.CheckBase has let
// pass. Nothing is cleaned: a slash at the base's end and one at the path's
// beginning are two.
func place(base, path string) location {
	scheme, rest, _ := strings.Cut(base, "://")
	host, folder := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, folder = rest[:i], rest[i:]
	}
	if path == "*" && folder != "" {
		path = ""
	}
	target := folder + path
	if target == "" {
		target = "/"
	}
	return location{scheme: strings.ToLower(scheme), host: host, target: target}
}

// url is l as net/http sends it byte for byte.
func (l location) url() *url.URL {
	path, query, asked := strings.Cut(l.target, "?")
	u := &url.URL{Scheme: l.scheme, Host: l.host, RawQuery: query, ForceQuery: asked && query == ""}
	if strings.HasPrefix(path, "//") {
		// An opaque target that begins so would be taken for a host.
		u.Path, u.RawPath = path, path
		if plain, err := url.PathUnescape(path); err == nil {
			u.Path = plain
		}
		return u
	}
	u.Opaque = path
	return u
}

// at is the location that a Location field at l means.
func (l location) at(ref string) (location, bool) {
	path, query, asked := strings.Cut(l.target, "?")
	u := &url.URL{Scheme: l.scheme, Host: l.host, Path: path, RawPath: path, RawQuery: query, ForceQuery: asked}
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path = plain
	}
	next, err := u.Parse(ref)
	if err != nil || next.Scheme != "http" && next.Scheme != "https" || next.Host == "" || next.User != nil {
		return location{}, false
	}
	return location{scheme: next.Scheme, host: next.Host, target: next.RequestURI()}, true
}

// sameHost reports whether two locations are one host: scheme, name and port.
func (l location) sameHost(other location) bool {
	return l.scheme == other.scheme && strings.EqualFold(l.authority(), other.authority())
}

// authority is the host with its port.
func (l location) authority() string {
	u := url.URL{Host: l.host}
	if u.Port() != "" {
		return l.host
	}
	if l.scheme == "https" {
		return l.host + ":443"
	}
	return l.host + ":80"
}
