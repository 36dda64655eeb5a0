//go:build unix

package failtest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// binary is the pillion that TestMain built.
var binary string

// roleEnv makes the test binary the app of the tests.
const roleEnv = "FAILTEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "" {
		os.Exit(buildAndRun(m))
	}
	if err := runApp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pillion-failtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	if binary, err = pilliontest.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// times is how often something is done: few times, or many in the long form.
func times(few, many int) int {
	if os.Getenv("PILLION_LONG") != "" {
		return many
	}
	return few
}
