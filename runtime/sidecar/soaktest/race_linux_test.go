//go:build race

package soaktest_test

import "testing"

// The same with the race detector in the sidecars.
func TestLoadRacesNothing(t *testing.T) {
	t.Parallel()
	soak(t, build(t, raceName, "-race"))
}
