package mdns

import "golang.org/x/sys/windows/registry"

// MachineID is a text that only programs on this machine can read.
func MachineID() string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return hostName()
	}
	defer func() { _ = key.Close() }()
	if id, _, err := key.GetStringValue("MachineGuid"); err == nil && id != "" {
		return id
	}
	return hostName()
}
