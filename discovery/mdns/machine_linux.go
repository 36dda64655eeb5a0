package mdns

import (
	"os"
	"strings"
)

// MachineID is a text that only programs on this machine can read. It is the
// kernel's boot id first: a container has the same one as its host, whatever
// its files say, and no two machines of one image share it.
func MachineID() string {
	for _, path := range []string{"/proc/sys/kernel/random/boot_id", "/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if id, err := os.ReadFile(path); err == nil { //nolint:gosec // one of the paths above
			if s := strings.TrimSpace(string(id)); s != "" {
				return s
			}
		}
	}
	return hostName()
}
