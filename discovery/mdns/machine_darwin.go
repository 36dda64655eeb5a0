package mdns

import "golang.org/x/sys/unix"

// MachineID is a text that only programs on this machine can read.
func MachineID() string {
	if id, err := unix.Sysctl("kern.uuid"); err == nil && id != "" {
		return id
	}
	return hostName()
}
