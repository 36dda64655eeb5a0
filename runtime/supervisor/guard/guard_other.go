//go:build !linux && !darwin

// Package guard has nothing to do on this system: a job object ends the app's
// processes with pillion.
package guard
