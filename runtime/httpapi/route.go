package httpapi

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// fieldTarget is the header form's field.
const fieldTarget = invoke.FieldTarget

// originForm is a request target without its authority, raw: what net/http has
// decoded is never used.
func originForm(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	// Absolute form (RFC 9112 §3.2.2); the host has its authority.
	for _, scheme := range []string{"http://", "https://"} {
		if len(target) < len(scheme) || !strings.EqualFold(target[:len(scheme)], scheme) {
			continue
		}
		rest := target[len(scheme):]
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			rest = rest[i:]
		} else {
			rest = ""
		}
		if !strings.HasPrefix(rest, "/") {
			rest = "/" + rest
		}
		return rest
	}
	return target
}

// route finds whom a request is for and the raw target its app gets: by the
// dapr-app-id field, Basic credentials, the invoke path, or the host name, the
// first that says so. ok is false if none does.
func route(a *ask) (id, target string, ok bool) {
	target = originForm(a.target)
	if !strings.HasPrefix(target, "/") {
		return "", "", false
	}
	if a.app != "" {
		return a.app, target, true
	}
	if id = basicID(a.authorization); id != "" {
		return id, target, true
	}
	if a.callee != "" && a.isGRPC() {
		return a.callee, target, true
	}
	if id, inner, ok := invokePath(target); ok {
		return id, inner, true
	}
	if id = hostID(a.host); id != "" {
		return id, target, true
	}
	return "", "", false
}

// basicID is the target in Basic credentials of the user dapr-app-id.
func basicID(authorization string) string {
	scheme, credentials, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "basic") {
		return ""
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	if err != nil {
		return "" // not ours to judge: it may be meant for the app
	}
	user, id, _ := strings.Cut(string(plain), ":")
	if !strings.EqualFold(user, fieldTarget) || strings.Contains(id, ":") {
		return ""
	}
	return id
}

// invokePath splits /v1.0/invoke/{id}/method/{target}. The slashes between the
// parts may be repeated; those directly behind /method/ are one. Every byte
// after stays.
func invokePath(raw string) (id, target string, ok bool) {
	path, _, _ := strings.Cut(raw, "?")
	rest := strings.TrimLeft(path, "/")
	for _, part := range []string{"v1.0", "invoke"} {
		after, found := strings.CutPrefix(rest, part)
		if !found || !strings.HasPrefix(after, "/") {
			return "", "", false
		}
		rest = strings.TrimLeft(after, "/")
	}
	id, method, found := strings.Cut(rest, "/method/")
	if !found || id == "" {
		return "", "", false
	}
	if plain, err := url.QueryUnescape(id); err == nil {
		id = plain
	}
	// From the last of the slashes on: nothing has to be joined.
	end := len(path) - len(strings.TrimLeft(method, "/"))
	return id, raw[end-1:], true
}

// hostID is the target in a host name <app-id>.localhost.
func hostID(host string) string {
	name := hostName(host)
	const suffix = ".localhost"
	if len(name) <= len(suffix) || !strings.EqualFold(name[len(name)-len(suffix):], suffix) {
		return ""
	}
	return name[:len(name)-len(suffix)]
}
