//go:build !windows

package config

// homeVariables name the user's home folder in the environment.
var homeVariables = []string{"HOME"}
