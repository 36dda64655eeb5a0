// Package grpctest_test holds the proxy to what gRPC promises: clients and
// servers of grpc-go, with two real sidecars and their mutual TLS between them.
// Every test runs through both doors of the caller's sidecar, to an app in
// clear text and to one with TLS.
package grpctest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pillion-dev/pillion/internal/buildtest"
)

// pillion is the program that TestMain built, and shared the sidecars that most
// tests use, a machine for each engine.
var (
	pillion string
	shared  []*machine
)

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pillion-grpctest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	pillion = os.Getenv("GRPCTEST_PILLION")
	if pillion == "" {
		pillion = filepath.Join(dir, "pillion")
		if err := buildtest.Build(pillion, "github.com/pillion-dev/pillion"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	for _, engine := range []string{"fast", "standard"} {
		m := &machine{dir: filepath.Join(dir, engine), engine: engine}
		shared = append(shared, m)
		defer m.stop()
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
