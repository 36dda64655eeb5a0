package httpapi

import (
	"path"
	"strings"
)

// apiPath is a request's path as the routes of Dapr's API are compared with it:
// raw, without the query and the first slash, repeated slashes and dot segments
// resolved, as Dapr's router does. It is "" if it cannot be one of them; paths
// of the invocation API are not, for every byte of them may be the app's.
func apiPath(target string) string {
	raw, _, _ := strings.Cut(originForm(target), "?")
	rest := strings.TrimLeft(raw, "/")
	if !strings.HasPrefix(rest, versionPrefix) || isInvokePath(rest) {
		return ""
	}
	if strings.Contains(rest, "//") || strings.Contains(rest, "/.") || strings.HasSuffix(rest, "/") {
		rest = path.Clean("/" + rest)[1:]
	}
	version, behind, _ := strings.Cut(rest, "/")
	group, _, _ := strings.Cut(behind, "/")
	if !strings.HasPrefix(version, versionPrefix) || !apiGroups[group] {
		return ""
	}
	return rest
}

// versionPrefix begins every version of the API.
const versionPrefix = "v1.0"

// isInvokePath reports whether a path without its first slash is of the
// invocation API.
func isInvokePath(rest string) bool {
	behind, found := strings.CutPrefix(rest, versionPrefix+"/")
	return found && strings.HasPrefix(strings.TrimLeft(behind, "/"), "invoke/")
}

// apiGroups are the first words behind the version: each is an API by itself.
var apiGroups = groupsOf(endpoints)

func groupsOf(all []endpoint) map[string]bool {
	groups := make(map[string]bool)
	for _, e := range all {
		groups[e.group()] = true
	}
	return groups
}
