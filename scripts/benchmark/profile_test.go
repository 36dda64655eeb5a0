package main

import (
	"strings"
	"testing"
	"time"
)

// What `go tool pprof -traces` prints, shortened.
const tracesText = `File: pillion
Type: cpu
Time: 2026-11-22 20:00:00 UTC
Duration: 8s, Total samples = 4s (50%)
-----------+-------------------------------------------------------
     1.50s   internal/runtime/syscall.Syscall6
             syscall.write
             crypto/tls.(*Conn).Write
             github.com/pillion-dev/pillion/runtime/mesh.(*link).flush
             github.com/pillion-dev/pillion/runtime/mesh.(*Server).Serve.func1
-----------+-------------------------------------------------------
   key:  value
     500ms   runtime.mallocgc
             net/http.Header.Clone
             github.com/pillion-dev/pillion/runtime/httpapi.(*Server).serve
             github.com/pillion-dev/pillion/runtime/mesh.other
-----------+-------------------------------------------------------
     1.80s   github.com/pillion-dev/pillion/runtime/invoke.(*Invoker).Serve (inline)
             net/http.serverHandler.ServeHTTP
-----------+-------------------------------------------------------
     200ms   runtime.futex
             runtime.findRunnable
             runtime.mcall
-----------+-------------------------------------------------------
`

func TestTracesAreRead(t *testing.T) {
	t.Parallel()
	got := parseTraces(tracesText)
	if len(got) != 4 || got[0].value != 1500*time.Millisecond || len(got[0].stack) != 5 ||
		got[1].value != 500*time.Millisecond || len(got[1].stack) != 4 || len(got[2].stack) != 2 {
		t.Errorf("parseTraces = %v", got)
	}
}

func TestTimeBelongsToTheRoomNearestToTheLeaf(t *testing.T) {
	t.Parallel()
	text := roomTable(parseTraces(tracesText))
	for _, want := range []string{
		"| runtime/invoke | 45.0 % | 45.0 % |  |  |  |  |",
		"| runtime/mesh | 37.5 % |  | 37.5 % |  |  |  |",
		"| runtime/httpapi | 12.5 % |  |  |  | 12.5 % |  |",
		"| (scheduler) | 5.0 % |  |  |  |  | 5.0 % |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
