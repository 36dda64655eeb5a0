package httpapi_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

const nobody = 65534

// curlAs runs curl as another user.
func curlAs(t *testing.T, uid uint32, args ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to be somebody else")
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl")
	}
	cmd := exec.CommandContext(t.Context(), curl, append([]string{"-si", "--max-time", "60"}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v: %s", err, out)
	}
	return string(out)
}

func TestOtherUsersAreRefused(t *testing.T) {
	t.Parallel()
	four := serve(t, httpapi.Config{})
	ln, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	serveOn(t, httpapi.Config{}, ln)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	open := serve(t, httpapi.Config{AllowOtherUsers: true})
	for url, want := range map[string]string{
		"http://" + four + callX:                       "HTTP/1.1 403",
		"http://[::1]:" + port + callX:                 "HTTP/1.1 403",
		"http://127.0.0.1:" + port + callX:             "HTTP/1.1 403",
		"http://[::ffff:127.0.0.1]:" + port + callX:    "HTTP/1.1 403",
		"http://" + four + "/v1.0/healthz":             "HTTP/1.1 403",
		"http://" + open + callX:                       "HTTP/1.1 200",
		"http://" + four + "/v1.0/invoke/x/method/y?q": "HTTP/1.1 403",
	} {
		got := curlAs(t, nobody, url)
		if !strings.HasPrefix(got, want) {
			t.Errorf("nobody at %s: %s, want %s", url, got, want)
		}
		if strings.HasSuffix(want, "403") && (!strings.Contains(got, "ERR_USER") || !strings.Contains(got, "--allow-other-users") ||
			!strings.Contains(got, "uid 65534") || !strings.Contains(got, "Connection: close")) {
			t.Errorf("the refusal is not explained: %s", got)
		}
		if got := curlAs(t, 0, url); strings.HasPrefix(got, "HTTP/1.1 403") {
			t.Errorf("root at %s: %s", url, got)
		}
	}
	if got := curlAs(t, nobody, "--http2-prior-knowledge", "http://"+four+callX); !strings.HasPrefix(got, "HTTP/2 403") {
		t.Errorf("nobody with HTTP/2: %s", got)
	}
}

// A door may be a Unix socket, with everything a port has.
func TestAUnixSocketIsADoor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "dapr-todo-api-http.socket")
	listen := func() net.Listener {
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		return ln
	}
	stop := serveOn(t, httpapi.Config{State: newState(t)}, listen())
	value := strings.Repeat("x", 100_000)
	for about, c := range map[string]struct {
		uid  uint32
		args []string
		want string
	}{
		"a call":              {0, []string{"http://localhost" + callX}, "HTTP/1.1 200"},
		"a call by HTTP/2":    {0, []string{"--http2-prior-knowledge", "http://localhost" + callX}, "HTTP/2 200"},
		"state":               {0, []string{"-d", `[{"key":"a","value":"` + value + `"}]`, "http://localhost/v1.0/state/store"}, "HTTP/1.1 204"},
		"another user":        {nobody, []string{"http://localhost" + callX}, "HTTP/1.1 403"},
		"another user, state": {nobody, []string{"http://localhost/v1.0/state/store/a"}, "HTTP/1.1 403"},
	} {
		if got := curlAs(t, c.uid, append([]string{"--unix-socket", path}, c.args...)...); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %.300s, want %s", about, got, c.want)
		}
	}
	stop()
	serveOn(t, httpapi.Config{AllowOtherUsers: true}, listen())
	if got := curlAs(t, nobody, "--unix-socket", path, "http://localhost"+callX); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("another user who may: %s", got)
	}
}

// shortDir is a folder that others can look into, short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "door") //nolint:usetesting // a path of the test's own is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A socket that its process has closed belongs to uid 0 as the kernel tells it;
// that must not make a request of anybody root's.
//
// It runs alone: a program that another test starts has every open socket, too,
// until it has begun.
func TestARequestLeftBehindIsNotRoots(t *testing.T) { //nolint:paralleltest // see above
	hold := make(chan struct{})
	reached := make(chan string, 2)
	addr := serve(t, httpapi.Config{MaxConns: 1, Invoke: invoke.HandlerFunc(func(ctx ctxT, c *invoke.Call) (*invoke.Answer, error) {
		reached <- c.Path
		if c.Path == "/hold" {
			<-hold
		}
		return reflectCall(ctx, c)
	})})
	first := dial(t, addr) // the only connection the door takes
	first.send(t, get("GET", "/v1.0/invoke/app/method/hold", "Connection: close"))
	within.Receive(t, reached)
	second := dial(t, addr)
	second.send(t, get("POST", "/v1.0/invoke/app/method/forged"))
	_ = second.Close() // before anybody could look whose it is
	close(hold)
	if resp, _ := first.response(t, "GET"); resp.StatusCode != http.StatusOK {
		t.Errorf("%d", resp.StatusCode)
	}
	_ = first.Close()
	if resp, _ := ask(t, addr, get("GET", "/v1.0/healthz")); resp.StatusCode != http.StatusNoContent {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
	select {
	case path := <-reached:
		t.Errorf("%s was carried out", path)
	default:
	}
}
