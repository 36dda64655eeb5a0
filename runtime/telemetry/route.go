package telemetry

import "strings"

// Route is a path without what differs from request to request, as Dapr labels
// it: the key of a state or secret, the id of an actor or workflow. Other paths
// are whole.
func Route(path string) string {
	if path == "" {
		return ""
	}
	path = normalized(path)
	parts := strings.SplitN(path[1:], "/", 6)
	if len(parts) < 3 {
		return path
	}
	if parts[0] == "actors" { // to the app
		parts[2] = "{id}"
		return strings.Join(parts, "/")
	}
	switch parts[1] {
	case "state", "secrets":
		return "/" + strings.Join(parts[:3], "/")
	case "actors":
		return actorRoute(path, parts)
	case "workflows":
		return workflowRoute(path, parts)
	}
	return path
}

func actorRoute(path string, parts []string) string {
	if len(parts) < 5 {
		return path
	}
	parts[3] = "{id}"
	return "/" + strings.Join(parts[:5], "/")
}

// workflowRoute is that of /version/workflows/component/…, where the name of a
// workflow stays and its instance does not.
func workflowRoute(path string, parts []string) string {
	if len(parts) < 4 {
		return path
	}
	if len(parts) == 5 && strings.HasPrefix(parts[4], "start") {
		return "/" + strings.Join(parts[:4], "/") + "/start"
	}
	parts[3] = "{instanceId}"
	if len(parts) == 6 {
		if parts[4] != "raiseEvent" || parts[5] == "" {
			parts = parts[:5]
		} else {
			parts[5] = "{eventName}"
		}
	}
	return "/" + strings.Join(parts, "/")
}

// normalized is path with one slash where there were several, and one before it.
func normalized(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}
