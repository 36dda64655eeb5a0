package meshtest_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pcapHead is the size of the head of a capture's file.
const pcapHead = 24

// capture records what crosses an interface. What it gives ends it and is all
// that was seen.
func capture(t *testing.T, ns, ifi, filter string) func() []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "capture")
	m := &machine{t: t, netns: ns, dir: t.TempDir()}
	p := start(t, m.command(context.WithoutCancel(t.Context()), nil,
		"tcpdump", "-i", ifi, "-n", "-U", "--immediate-mode", "-s", "0", "-B", "16384", "-Z", "root", "-w", file, filter))
	p.await("listening on " + ifi)
	return func() []byte {
		t.Helper()
		settle(t, file)
		p.stop()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < pcapHead {
			t.Fatalf("tcpdump wrote %d bytes: %s", len(data), p.said())
		}
		return bytes.Clone(data[pcapHead:])
	}
}

// settle waits until a file has stopped growing.
func settle(t *testing.T, file string) {
	t.Helper()
	const quiet = 200 * time.Millisecond
	last, since := int64(-1), time.Now()
	until(t, "the capture is complete", func() bool {
		info, err := os.Stat(file)
		if err == nil && info.Size() != last {
			last, since = info.Size(), time.Now()
		}
		return time.Since(since) > quiet
	})
}
