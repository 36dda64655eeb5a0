//go:build linux

package supervisor_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// BenchmarkStart is the time until an app's program is executed behind its
// guard; BenchmarkExec is the same without us.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := supervisor.Start(b.Context(), supervisor.Spec{
			Command: []string{"sleep", "1000"}, Env: os.Environ(), Out: io.Discard, Err: io.Discard,
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = p.Kill()
		<-p.Done()
		b.StartTimer()
	}
}

func BenchmarkExec(b *testing.B) {
	for b.Loop() {
		c := exec.Command("sleep", "1000")
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = c.Process.Kill()
		_ = c.Wait()
		b.StartTimer()
	}
}

func BenchmarkOutput(b *testing.B) {
	const size = 16 << 20
	b.SetBytes(size)
	for b.Loop() {
		p, err := supervisor.Start(b.Context(), supervisor.Spec{
			Command: []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}, Env: os.Environ(), Out: io.Discard, Err: io.Discard,
		})
		if err != nil {
			b.Fatal(err)
		}
		<-p.Done()
	}
}

func BenchmarkSockets(b *testing.B) {
	p, err := supervisor.Start(b.Context(), supervisor.Spec{
		Command: []string{"sleep", "1000"}, Env: os.Environ(), Out: io.Discard, Err: io.Discard,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Kill(); <-p.Done() }()
	for b.Loop() {
		if _, err := p.Sockets(); err != nil {
			b.Fatal(err)
		}
	}
}
