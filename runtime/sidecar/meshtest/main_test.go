// Package meshtest_test holds the mesh to its word from outside: real apps
// under `pillion run`, in homes, runtime folders and network namespaces of
// their own, called through the doors and by `pillion invoke`.
package meshtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pillion-dev/pillion/internal/buildtest"
)

// binary is the pillion that TestMain built.
var binary string

// roleEnv makes the test binary one of the programs the tests need.
const roleEnv = "MESHTEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(buildAndRun(m))
	case "app":
		fail(runApp())
	case "occupy":
		fail(runOccupier())
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pillion-meshtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	binary = filepath.Join(dir, "pillion")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	if err := buildtest.Build(binary, "github.com/pillion-dev/pillion"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// The go command keeps the results of this package's tests for as long as the
// program is what it was.
func TestResultsAreKeptForThisProgramOnly(t *testing.T) {
	t.Parallel()
	if err := buildtest.Depend(); err != nil {
		t.Error(err)
	}
}
