// Package buildtest builds programs for tests.
package buildtest

import (
	"fmt"
	"os"
	"os/exec"
)

// Build builds packages into out, a file or a folder. It does so as CI's first
// part and scripts/demo do, static and without paths, so that each library is
// compiled once for all of them.
func Build(out string, packages ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", out}, packages...)
	cmd := exec.Command("go", args...) //nolint:gosec,noctx // a test says what, and has its time
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", packages, err, said)
	}
	return nil
}
