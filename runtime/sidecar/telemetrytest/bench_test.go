//go:build unix

package telemetrytest_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/runtime/config"
)

// BenchmarkCall is what a call through two sidecars costs with what tells of
// it, beside one that nobody is told of. The client, the app and both sidecars
// are in the processor time; the collector takes what it is sent and drops it.
func BenchmarkCall(b *testing.B) {
	answer := []byte(`{"status":"delivered","message":"hello","id":123456789}`)
	for _, mode := range []struct {
		name, spec string
		metrics    bool
		exported   bool
	}{
		{name: "off"},
		{name: "metrics", metrics: true},
		{name: "traced=0.01", spec: "  tracing:\n    samplingRate: \"0.01\"\n", exported: true},
		{name: "traced=1", spec: "  tracing:\n    samplingRate: \"1\"\n", exported: true},
		{name: "metrics+traced=0.01", spec: "  tracing:\n    samplingRate: \"0.01\"\n", metrics: true, exported: true},
	} {
		b.Run(mode.name, func(b *testing.B) {
			m := newMachine(b)
			a := newApp(b, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(answer)
			})
			var environ []string
			if mode.exported {
				environ = []string{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + drain(b)}
			}
			callee, caller := config.Sidecar{AppID: "notes", AppPort: a.port}, config.Sidecar{AppID: "todo-api"}
			for _, cfg := range []*config.Sidecar{&callee, &caller} {
				if mode.spec != "" {
					cfg.ConfigFiles = configuration(b, mode.spec)
				}
				if mode.metrics {
					cfg.Metrics, cfg.MetricsPort = true, porttest.Reserve(b).Number()
				}
			}
			m.run(callee, environ...)
			door := m.run(caller, environ...).door
			c, err := net.Dial("tcp", door)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			body := bytes.Repeat([]byte("x"), 54)
			request := fmt.Appendf(nil, "POST /v1.0/invoke/notes/method/notify HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				door, len(body), body)
			buf := make([]byte, 4096)
			call := func() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				for n := 0; !bytes.HasSuffix(buf[:n], answer); {
					got, err := c.Read(buf[n:])
					if err != nil {
						b.Fatal(err)
					}
					n += got
				}
			}
			for range 500 {
				call()
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := processor(b)
			for b.Loop() {
				call()
			}
			b.ReportMetric(float64((processor(b)-before).Microseconds())/float64(b.N), "µs-cpu/op")
		})
	}
}

// drain is a collector that drops what it is sent.
func drain(b *testing.B) string {
	b.Helper()
	ln, _ := listen(b)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-protobuf")
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(ln) }() // until Close
	b.Cleanup(func() { _ = srv.Close(); <-ended })
	return ln.Addr().String()
}

// processor is the time that the process has had the processor.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
