//go:build !linux && !darwin && !windows

package sqlite

func networkFS(string) (string, bool) { return "", false }
