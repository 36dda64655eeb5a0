// Package lesson_test runs the lesson's services as a reader would: each with
// its own `pillion run`, in Go and in Python, in a home of their own.
package lesson_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pillion-dev/pillion/internal/buildtest"
)

// bin is the folder of what TestMain built: pillion and the services in Go.
var bin string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pillion-lesson-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	bin = dir
	err = buildtest.Build(dir+string(filepath.Separator),
		"github.com/pillion-dev/pillion",
		"github.com/pillion-dev/pillion/examples/lesson/go/todo-api",
		"github.com/pillion-dev/pillion/examples/lesson/go/notification-service",
		"github.com/pillion-dev/pillion/examples/lesson/go/billing-service")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	http.DefaultClient.Timeout = patience // no test waits for longer
	return m.Run()
}

// program is the path of something TestMain built.
func program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(bin, name)
}

// A language is one of the two the services are written in.
type language string

const (
	inGo     language = "Go"
	inPython language = "Python"
)

// command is how a service of the lesson is started; its port comes in PORT.
func (l language) command(t *testing.T, service string) (command []string, dir string) {
	t.Helper()
	if l == inGo {
		return []string{program(service)}, ""
	}
	module := map[string]string{
		"todo-api":             "todo_api",
		"notification-service": "notification_service",
		"billing-service":      "billing_service",
	}[service]
	return []string{"sh", "-c", "exec " + python(t) + " -m uvicorn " + module + ":app --port $PORT"}, "python"
}

// python is an interpreter that has FastAPI and uvicorn: Debian's, whatever
// else is first in PATH. Where everything has to run it is an error not to
// have one.
func python(t *testing.T) string {
	t.Helper()
	const interpreter = "/usr/bin/python3"
	out, err := exec.CommandContext(t.Context(), interpreter, "-c", "import fastapi, uvicorn").CombinedOutput()
	if err == nil {
		return interpreter
	}
	const want = "the lesson's services in Python need Debian's python3-fastapi and python3-uvicorn (scripts/test --install): %v %s"
	if os.Getenv("CI") != "" || os.Getenv("PILLION_TEST_ALL") != "" {
		t.Fatalf(want, err, out)
	}
	t.Skipf(want, err, out)
	return ""
}

// The go command keeps the results of this package's tests for as long as the
// program is what it was.
func TestResultsAreKeptForThisProgramOnly(t *testing.T) {
	t.Parallel()
	if err := buildtest.Depend(); err != nil {
		t.Error(err)
	}
}
