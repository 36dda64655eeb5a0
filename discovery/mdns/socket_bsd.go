//go:build unix && !linux

package mdns

// onlyJoined has nothing to do: a socket hears what it joined.
func onlyJoined(int) error { return nil }
