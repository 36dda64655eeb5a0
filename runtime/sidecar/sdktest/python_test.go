package sdktest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// python is Debian's interpreter, which has grpcio.
const python = "/usr/bin/python3"

func TestPythonCalls(t *testing.T) {
	t.Parallel()
	for sdk, protocol := range map[string]string{pyHTTP: "http", pyGRPC: "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			if out, err := exec.CommandContext(t.Context(), python, "-c", "import grpc").CombinedOutput(); err != nil {
				lacks(t, "Python's calls need Debian's python3-grpcio: %v %s", err, out)
			}
			s := newScene(t)
			c := exec.CommandContext(t.Context(), python, filepath.Join("python", "client.py"), protocol)
			c.Env = s.environ()
			if protocol == "grpc" {
				c.Env = append(c.Env, "PYTHONPATH="+stubs(t, s.World))
			}
			reports(t, sdk, c)
			if status := s.caller.Wait(t); status != 0 { // the program's last word was shutdown
				t.Errorf("after the shutdown the sidecar ended with %d", status)
			}
		})
	}
}

// stubs makes Python's stubs from the definitions that come with Dapr's module.
func stubs(t *testing.T, w *pilliontest.World) (dir string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/dapr/dapr").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := strings.TrimSpace(string(out))
	var protos []string
	for _, pattern := range []string{"dapr/proto/common/v1/*.proto", "dapr/proto/runtime/v1/*.proto"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s in %s: %v", pattern, root, err)
		}
		protos = append(protos, found...)
	}
	dir = filepath.Join(w.Dir, "stubs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	plugin, err := exec.LookPath("grpc_python_plugin")
	if err != nil {
		lacks(t, "stubs for Python need Debian's protobuf-compiler-grpc: %v", err)
	}
	args := append([]string{
		"-I" + root, "--plugin=protoc-gen-grpc_python=" + plugin, "--python_out=" + dir, "--grpc_python_out=" + dir,
	}, protos...)
	if out, err := exec.CommandContext(t.Context(), "protoc", args...).CombinedOutput(); err != nil {
		t.Fatalf("stubs for Python: %v\n%s", err, out)
	}
	return dir
}
