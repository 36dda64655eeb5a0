// Package buildtest builds programs for tests.
package buildtest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds packages into out, a file or a folder. It does so as CI's first
// part and scripts/demo do, static and without paths, so that each library is
// compiled once for all of them. Within a test it does what Depend does.
func Build(out string, packages ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", out}, packages...)
	cmd := exec.Command("go", args...) //nolint:gosec,noctx // a test says what, and has its time
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", packages, err, said)
	}
	return Depend()
}

// Depend looks at the module's files, so that a change of theirs makes the go
// command run the tests again instead of giving their last result: it cannot know
// what a program was built from. It notes only what is looked at within a test:
// where TestMain builds, a test has to call this.
func Depend() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		above := filepath.Dir(root)
		if above == root {
			return nil // there is no module: nothing is kept
		}
		root = above
	}
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (name[0] == '.' || name == "node_modules" || name == "testdata"):
			return filepath.SkipDir
		case !entry.IsDir() && !strings.HasSuffix(name, "_test.go"):
			_, _ = os.Stat(path) // one that is gone by now is seen to be gone
		}
		return nil
	})
}
