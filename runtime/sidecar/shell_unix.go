//go:build !windows

package sidecar

// shell is a command line as a command.
func shell(line string) []string { return []string{"sh", "-c", line} }
