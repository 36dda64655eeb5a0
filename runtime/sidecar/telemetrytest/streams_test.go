package telemetrytest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
)

// An upgrade is one span, as long as it lasts, and one request.
func TestATunnelIsOneSpanAndOneRequest(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"fast", "standard"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			c, m, port := newCollector(t), newMachine(t), metricsPort(t)
			a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				_, _ = io.Copy(conn, rw) // until the client has said all
			})
			m.run(config.Sidecar{AppID: "notes", AppPort: a.port, Engine: engine}, c.otlp("grpc")...)
			caller := m.run(config.Sidecar{AppID: "todo-api", Engine: engine, Metrics: true, MetricsPort: port}, c.otlp("grpc")...)
			conn, err := net.Dial("tcp", caller.door)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(within.Patience)) // fails only if closed
			_, _ = fmt.Fprintf(conn, "GET /v1.0/invoke/notes/method/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", caller.door)
			r := bufio.NewReader(conn)
			answer, err := http.ReadResponse(r, nil)
			if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(answer, err)
			}
			_, _ = io.WriteString(conn, "ping")
			if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			open := time.Now()
			_ = conn.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Fatal(err)
			}
			by := c.await(t, 2)
			if first, second := by["todo-api"], by["notes"]; second.parent != first.id || first.attributes["dapr.status_code"] != "101" || first.failed || second.failed {
				t.Errorf("the spans are %+v", by)
			}
			for service, s := range by {
				if s.ended.Before(open) {
					t.Errorf("the span of %s ended %v before the tunnel", service, open.Sub(s.ended))
				}
			}
			within.Until(t, "the tunnel to be counted", func() bool {
				return scraped(t, port).count("dapr_http_server_request_count",
					"app_id", "todo-api", "method", "GET", "path", "/v1.0/invoke/notes/method/ws", "status", "101") == 1
			})
		})
	}
}

func TestCallsOverHTTP2AreTracedAndCounted(t *testing.T) {
	t.Parallel()
	c, m, port := newCollector(t), newMachine(t), metricsPort(t)
	a := newApp(t, nil)
	m.run(config.Sidecar{AppID: "notes", AppPort: a.port}, c.otlp("grpc")...)
	caller := m.run(config.Sidecar{AppID: "todo-api", Metrics: true, MetricsPort: port}, c.otlp("grpc")...)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for path, status := range map[string]int{"/v1.0/invoke/notes/method/x": 200, "/v1.0/invoke/nobody/method/x": 500, "/v1.0/metadata": 200} {
		r, err := http.NewRequestWithContext(within.Context(t), "GET", "http://"+caller.door+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Traceparent", given)
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if got := answer.Header["Traceparent"]; answer.StatusCode != status || len(got) != 1 || got[0][:36] != given[:36] {
			t.Errorf("%s: %s, traceparent %q", path, answer.Status, got)
		}
		within.Until(t, path+" to be counted", func() bool {
			return scraped(t, port).count("dapr_http_server_request_count",
				"app_id", "todo-api", "method", "GET", "path", path, "status", fmt.Sprint(status)) == 1
		})
	}
	c.await(t, 4)
}
