package soaktest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pillion-dev/pillion/internal/buildtest"
)

// roleEnv makes the test binary one of the apps.
const roleEnv = "SOAKTEST_ROLE"

// binaries are the folder of the pillions that tests build.
var binaries string

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(runTests(m))
	case "http":
		fail(runPage())
	case "grpc":
		fail(runService())
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pillion-soaktest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	binaries = dir
	return m.Run()
}

// build makes a pillion; flags are those of go build.
func build(t *testing.T, name string, flags ...string) string {
	t.Helper()
	file := filepath.Join(binaries, name)
	if len(flags) == 0 {
		if err := buildtest.Build(file, "github.com/pillion-dev/pillion"); err != nil {
			t.Fatal(err)
		}
		return file
	}
	args := append([]string{"build", "-o", file}, flags...)
	c := exec.CommandContext(t.Context(), "go", append(args, "github.com/pillion-dev/pillion")...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build pillion: %v\n%s", err, out)
	}
	return file
}
