// Package sdktest_test holds pillion to what Dapr's SDKs do: the official ones
// for Go and JavaScript, unmodified, and programs in Python that make the calls
// that Dapr's SDK for Python makes. What works is a table in
// docs/compatibility.md, which the tests write.
package sdktest_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	daprhttp "github.com/dapr/go-sdk/service/http"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// pillion is the program that TestMain built.
var pillion string

// serviceEnv makes this program the app that a test starts.
const serviceEnv = "SDKTEST_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(serviceEnv) != "" {
		os.Exit(httpService())
	}
	os.Exit(buildAndRun(m))
}

// httpService is an app made with the Go SDK.
func httpService() int {
	srv := daprhttp.NewService("127.0.0.1:" + os.Getenv("PORT"))
	err := srv.AddServiceInvocationHandler("/shout", shout)
	if err == nil {
		err = srv.Start()
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func buildAndRun(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "pillion-sdktest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	if pillion, err = pilliontest.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := m.Run()
	if status == 0 && whole() {
		if err := results.compare(); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			return 1
		}
	}
	return status
}

// whole reports whether all tests were asked for, so that the table is whole.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}
