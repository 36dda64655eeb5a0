package sdktest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// node is the folder js, where `npm ci` has been. Where it has not, or there is
// no Node.js, the test is skipped, which CI does not let pass.
func node(t *testing.T) (dir string) {
	t.Helper()
	dir, err := filepath.Abs("js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		lacks(t, "the JavaScript SDK needs Node.js: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@dapr", "dapr")); err != nil {
		lacks(t, "the JavaScript SDK is not installed, which is npm ci in runtime/sidecar/sdktest/js: %v", err)
	}
	return dir
}

// report is a line of the client programs.
type report struct{ Feature, Error string }

// reports runs a client program and notes what it says of each feature.
func reports(t *testing.T, sdk string, c *exec.Cmd) {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Errorf("%v: %v\n%s%s", c.Args, err, out.Bytes(), errs.Bytes())
	}
	seen := 0
	for line := range bytes.Lines(out.Bytes()) {
		var r report
		if json.Unmarshal(line, &r) != nil || r.Feature == "" {
			continue // what else it says
		}
		seen++
		check(t, sdk, r.Feature, func(t *testing.T) {
			if r.Error != "" {
				t.Error(r.Error)
			}
		})
	}
	if seen == 0 {
		t.Errorf("%v reported nothing:\n%s%s", c.Args, out.Bytes(), errs.Bytes())
	}
}

func TestJavaScriptClient(t *testing.T) {
	t.Parallel()
	for sdk, protocol := range map[string]string{jsHTTP: "http", jsGRPC: "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			dir := node(t)
			s := newScene(t)
			c := exec.CommandContext(t.Context(), "node", "client.mjs", protocol)
			c.Dir, c.Env = dir, s.environ()
			reports(t, sdk, c)
			if status := s.caller.Wait(t); status != 0 { // the program's last word was shutdown
				t.Errorf("after the shutdown the sidecar ended with %d", status)
			}
		})
	}
}

func TestJavaScriptServer(t *testing.T) {
	t.Parallel()
	for sdk, protocol := range map[string]string{jsHTTP: "http", jsGRPC: "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			dir := node(t)
			s := newScene(t)
			feature := "service: an app made with the SDK, HTTP"
			if protocol == "grpc" {
				feature = "service: an app made with the SDK, gRPC"
			}
			check(t, sdk, feature, func(t *testing.T) {
				s.Run("js-app", "--app-port", "auto", "--app-protocol", protocol, "--",
					"node", filepath.Join(dir, "server.mjs"), protocol)
				out, status := s.Pillion("invoke", "js-app", "echo", "-d", `{"n":1}`)
				if want := `{"verb":"POST","body":{"n":1}}`; status != 0 || out != want+"\n" && out != want {
					t.Errorf("invoke: exit %d\n%s\nwant %s", status, out, want)
				}
			})
		})
	}
}
