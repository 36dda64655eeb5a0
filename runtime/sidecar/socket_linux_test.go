package sidecar_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
)

// get asks one sidecar's door for another's app.
func (p *place) get(door uint16, app string) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet,
		fmt.Sprintf("http://127.0.0.1:%d/v1.0/invoke/%s/method/", door, app), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // only read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(body)
}

// connected is how many connections a Unix socket has, as the kernel says.
func connected(t *testing.T, path string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		const isConnected = "03"
		if len(f) == 8 && f[7] == path && f[5] == isConnected {
			n++
		}
	}
	return n
}

func TestCallsOnOneMachineCrossTheMeshSocketAndFallBackToItsPort(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	callee := p.start(actServe, config.Sidecar{AppID: "callee", AppPortAuto: true})
	callee.awaitOutput("guard")
	p.start("", config.Sidecar{AppID: "first"}).await("entry", func() bool { return len(p.entries()) == 2 })
	if got := p.get(p.door("first"), "callee"); got != "hello" {
		t.Fatalf("the answer is %q", got)
	}
	var path string
	for _, e := range p.entries() {
		if e.App == "callee" {
			path = e.MeshSocket
		}
	}
	if n := connected(t, path); path == "" || n != 1 {
		t.Errorf("%d connections by the socket %q, want 1", n, path)
	}
	// A folder may be cleaned while its instances live.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p.start("", config.Sidecar{AppID: "second"}).await("entry", func() bool { return len(p.entries()) == 3 })
	if got := p.get(p.door("second"), "callee"); got != "hello" {
		t.Errorf("without the socket the answer is %q", got)
	}
}
