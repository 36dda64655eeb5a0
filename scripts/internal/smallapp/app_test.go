package smallapp_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/scripts/internal/smallapp"
)

// start runs the app until the test ends, and says its URL.
func start(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- smallapp.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := within.Receive(t, ended); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

func TestAnswersAreAsLargeAsAskedFor(t *testing.T) {
	t.Parallel()
	url := start(t)
	for path, want := range map[string]struct{ status, length int }{
		smallapp.Notify:           {200, 26},
		smallapp.Bytes + "0":      {200, 0},
		smallapp.Bytes + "100000": {200, 100_000},
		smallapp.Slow + "1":       {200, 0},
		smallapp.Bytes + "-1":     {400, 38},
		smallapp.Bytes + "x":      {400, 38},
	} {
		r, err := http.Post(url+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != want.status || len(body) != want.length {
			t.Errorf("POST %s = %d with %d bytes, %v; want %d with %d", path, r.StatusCode, len(body), err, want.status, want.length)
		}
	}
}
