package mdns

import "os"

// hostName stands in where the system has no machine id.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
