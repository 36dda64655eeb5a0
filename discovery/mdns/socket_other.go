//go:build !linux

package mdns

import "net"

// hasHostScope is false: nothing keeps a socket here from hearing the LAN
// through other programs' memberships, so host scope is the runtime folder.
const hasHostScope = false

func (l *listener) onlyResponses() {}

// serverInterfaces are those the library's server is bound to: one for each.
func serverInterfaces(lan []net.Interface) ([]net.Interface, error) { return lan, nil }
