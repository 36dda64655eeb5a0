//go:build unix

package failtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/pilliontest"
	"github.com/pillion-dev/pillion/internal/porttest"
)

// A project is an app whose source is changed while it is called. It notes each
// call as the tests' own app does, and answers with its version.
type project struct {
	file   string
	source string // with {{VERSION}} in it
	more   map[string]string
	run    func(t *testing.T) []string // the arguments of pillion run
	env    func(t *testing.T) []string
}

const goSource = `package main

import (
	"io"
	"net/http"
	"os"
)

func main() {
	record, err := os.OpenFile(os.Getenv("RECORD"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/a", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.WriteString(record, "{{VERSION}} "+r.Header.Get("X-Id")+"\n"); err != nil {
			panic(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{{VERSION}}")
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
`

const pythonSource = `import http.server, os, sys

record = os.open(os.environ["RECORD"], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        os.write(record, ("{{VERSION}} " + self.headers.get("X-Id", "") + "\n").encode())
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len("{{VERSION}}")))
        self.end_headers()
        self.wfile.write(b"{{VERSION}}")

    do_POST = do_GET

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
`

var projects = map[string]project{
	"a Go app that is built, on a port of its own each time": {
		file: "main.go", source: goSource, more: map[string]string{"go.mod": "module app\n\ngo 1.26\n"},
		run: func(*testing.T) []string {
			return []string{"--app-port", "auto", "--watch", "--build", "go build -trimpath -buildvcs=false -o app .", "--", "./app"}
		},
		env: goEnv,
	},
	"a script on a fixed port": {
		file: "app.py", source: pythonSource,
		run: func(t *testing.T) []string {
			port := porttest.Reserve(t).String()
			return []string{"--app-port", port, "--watch", "--", python(t), "app.py", port}
		},
		env: func(*testing.T) []string { return nil },
	},
}

// Callers notice nothing while the source of their callee is changed, again and
// again.
func TestNothingFailsWhileSourcesChange(t *testing.T) {
	t.Parallel()
	for name, p := range projects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 0)
			for file, text := range p.more {
				f.w.Write("src/"+file, text)
			}
			touch := func(version string) { // whole, as editors do: half of an app is no app
				written := f.w.Write("written", strings.ReplaceAll(p.source, "{{VERSION}}", version))
				if err := os.Rename(written, filepath.Join(f.w.Dir, "src", p.file)); err != nil {
					t.Fatal(err)
				}
			}
			f.w.Write("src/"+p.file, "")
			touch("v0")
			f.w.In("src").With(append(p.env(t), "RECORD="+f.record())...).Run("orders", slices.Concat(patient, p.run(t))...)
			l := newLoad(t, f.caller().HTTP)
			l.verbs = []string{"GET", "POST"}
			stop := l.pace("/a", times(200, 200))
			pause := 3 * time.Second // what changes at once is taken for the app's own writing
			if os.Getenv("PILLION_LONG") != "" {
				pause = 6 * time.Second
			}
			began := time.Now()
			for n := range times(20, 50) {
				version := fmt.Sprint("v", 1+n)
				touch(version)
				pilliontest.Until(t, version+" answers", func() bool { return callsOf(recorded(t, f.record()), version) > 0 })
				answered := time.Now()
				pilliontest.Until(t, "it is time", func() bool {
					return time.Since(began) >= time.Duration(1+n)*pause && time.Since(answered) > pause*5/6
				})
			}
			stop()
			l.check(f.record(), nil)
		})
	}
}

// mostAtOnce is how many calls pace has under way: fewer than a sidecar holds.
const mostAtOnce = 500

// pace makes so many calls a second, however long they take, until stop is
// called, which waits for the last ones.
func (l *load) pace(path string, perSecond int) (stop func()) {
	over := make(chan struct{})
	l.calls.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if l.open.Load() < mostAtOnce {
					l.fire(path, 1)
				}
			case <-over:
				return
			case <-l.t.Context().Done():
				return
			}
		}
	})
	return func() { close(over); l.calls.Wait() }
}

// goEnv lets a build find what has been compiled before.
func goEnv(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs := strings.Fields(string(out))
	return []string{"GOCACHE=" + dirs[0], "GOMODCACHE=" + dirs[1], "CGO_ENABLED=0", "GOFLAGS="}
}

// python is an interpreter. Where everything has to run it is an error not to
// have one.
func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" || os.Getenv("PILLION_TEST_ALL") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}
