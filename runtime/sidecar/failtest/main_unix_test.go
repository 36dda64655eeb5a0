//go:build unix

package failtest_test

import (
	"flag"
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
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // what they do most is wait
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// times is how often something is done: few times where everything is tested, a
// third of that every day, many in the long form.
func times(few, many int) int {
	switch {
	case os.Getenv("PILLION_LONG") != "":
		return many
	case os.Getenv("CI") != "" || os.Getenv("PILLION_TEST_ALL") != "":
		return few
	default:
		return (few + 2) / 3
	}
}
