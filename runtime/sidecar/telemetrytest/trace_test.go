package telemetrytest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
)

const (
	given      = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	givenTrace = "0af7651916cd43dd8448eb211c80319c"
	givenSpan  = "b7ad6b7169203331"
	unsampled  = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// A pair is a caller's sidecar and one with an app.
type pair struct {
	app             *app
	caller, callee  *side
	toApp, toNobody string // URLs
}

// newPair runs todo-api, and notes with an app, both with environ.
func newPair(t *testing.T, h http.HandlerFunc, environ ...string) *pair {
	t.Helper()
	m := newMachine(t)
	p := &pair{app: newApp(t, h)}
	p.callee = m.run(config.Sidecar{AppID: "notes", AppPort: p.app.port}, environ...)
	p.caller = m.run(config.Sidecar{AppID: "todo-api"}, environ...)
	p.toApp = "http://" + p.caller.door + "/v1.0/invoke/notes/method/"
	p.toNobody = "http://" + p.caller.door + "/v1.0/invoke/nobody/method/"
	return p
}

// otlp is the environment of a sidecar that sends its traces to c: in clear,
// which the address says, or a variable of its own.
func (c *collector) otlp(protocol string) []string {
	environ := []string{"OTEL_EXPORTER_OTLP_PROTOCOL=" + protocol, "OTEL_EXPORTER_OTLP_HEADERS=x-token=a%20b"}
	if protocol == "grpc" {
		return append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+c.grpc)
	}
	return append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.http, "OTEL_EXPORTER_OTLP_INSECURE=true")
}

func TestOneTraceCrossesBothSidecars(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t)
			p := newPair(t, nil, c.otlp(protocol)...)
			answer, text := ask(t, "POST", p.toApp+"notify%20me?secret=1", "hi", "Dapr-Colour", "green", "Dapr-Caller-App-Id", "liar")
			if answer.StatusCode != 200 || text != "hello" {
				t.Fatalf("%s %q", answer.Status, text)
			}
			by := c.await(t, 2)
			first, second := by["todo-api"], by["notes"]
			if first.trace == "" || first.trace != second.trace || first.parent != "" || second.parent != first.id {
				t.Errorf("the spans are not one trace: %+v, %+v", first, second)
			}
			if first.kind != "SPAN_KIND_CLIENT" || second.kind != "SPAN_KIND_SERVER" {
				t.Errorf("they are %s and %s", first.kind, second.kind)
			}
			if want := "CallLocal/notes/notify me"; first.name != want || second.name != want {
				t.Errorf("they are called %q and %q, want %q", first.name, second.name, want)
			}
			if got, want := answer.Header.Get("Traceparent"), "00-"+first.trace+"-"+first.id+"-01"; got != want {
				t.Errorf("the answer says %s, want %s", got, want)
			}
			if got, want := p.app.fields().Get("Traceparent"), "00-"+first.trace+"-"+second.id+"-01"; got != want {
				t.Errorf("the app gets %s, want %s", got, want)
			}
			wantAttributes(t, first, map[string]string{
				"rpc.service": "ServiceInvocation", "net.peer.name": "notes", "dapr.protocol": "http",
				"dapr.api": "POST /v1.0/invoke/notes/method/notify me", "dapr.status_code": "200",
				"http.request.method": "POST", "url.full": "/v1.0/invoke/notes/method/notify%20me",
				"server.address": "127.0.0.1", "dapr-colour": "green", "dapr-caller-app-id": "",
				"pillion.instance": p.callee.entry.ID,
			})
			wantAttributes(t, second, map[string]string{
				"rpc.service": "ServiceInvocation", "dapr.protocol": "grpc", "dapr.invoke_method": "notify me",
				"dapr.api": "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream", "dapr.status_code": "200",
				"pillion.caller": p.caller.entry.Identity,
			})
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.tokens) == 0 || c.tokens[0] != "a b" {
				t.Errorf("the collector was told %q", c.tokens)
			}
		})
	}
}

func wantAttributes(t *testing.T, s span, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if s.attributes[key] != value {
			t.Errorf("%s of %s: %s is %q, want %q", s.name, s.service, key, s.attributes[key], value)
		}
	}
}

func TestATraceThatComesIsJoined(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, nil, c.otlp("grpc")...)
	answer, _ := ask(t, "GET", p.toApp+"x", "", "traceparent", given, "tracestate", "a=1,b=2", "baggage", "user=ada,x=%20")
	by := c.await(t, 2)
	first, second := by["todo-api"], by["notes"]
	if first.trace != givenTrace || second.trace != givenTrace || first.parent != givenSpan || second.parent != first.id {
		t.Errorf("not joined: %+v, %+v", first, second)
	}
	if first.state != "a=1,b=2" || second.state != "a=1,b=2" {
		t.Errorf("their tracestates are %q and %q", first.state, second.state)
	}
	got := p.app.fields()
	for name, want := range map[string]string{
		"Traceparent": "00-" + givenTrace + "-" + second.id + "-01", "Tracestate": "a=1,b=2", "Baggage": "user=ada,x=%20",
	} {
		if all := got[name]; len(all) != 1 || all[0] != want {
			t.Errorf("the app gets %s: %q, want %q", name, all, want)
		}
	}
	if got := answer.Header.Get("Tracestate"); got != "a=1,b=2" {
		t.Errorf("the answer's tracestate is %q", got)
	}
}

func TestATraceThatNobodyRecordsIsPassedOnAsItCame(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, nil, c.otlp("grpc")...)
	answer, _ := ask(t, "GET", p.toApp+"x", "", "traceparent", unsampled, "tracestate", "a=1")
	if got := p.app.fields(); got.Get("Traceparent") != unsampled || got.Get("Tracestate") != "a=1" {
		t.Errorf("the app gets %q, %q", got.Get("Traceparent"), got.Get("Tracestate"))
	}
	if got := answer.Header.Get("Traceparent"); got != unsampled {
		t.Errorf("the answer says %q", got)
	}
	p.caller.end()
	p.callee.end()
	if got := c.spans(); len(got) != 0 {
		t.Errorf("recorded %v", got)
	}
}

func TestAParentThatCannotBeReadBeginsATrace(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, nil, c.otlp("grpc")...)
	zeros := "00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-01"
	ask(t, "GET", p.toApp+"x", "", "traceparent", zeros, "tracestate", "a=1")
	by := c.await(t, 2)
	if first := by["todo-api"]; first.trace == strings.Repeat("0", 32) || first.parent != "" {
		t.Errorf("it is %+v", first)
	}
	if got := p.app.fields(); strings.HasPrefix(got.Get("Traceparent"), "00-000000") || got.Get("Tracestate") != "" {
		t.Errorf("the app gets %q, %q", got.Get("Traceparent"), got.Get("Tracestate"))
	}
}

func TestWithoutTracingNothingIsMadeAndWhatComesIsRelayed(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	answer, _ := ask(t, "GET", p.toApp+"x", "")
	if got := p.app.fields().Get("Traceparent"); got != "" {
		t.Errorf("the app gets a traceparent: %s", got)
	}
	if got := answer.Header.Get("Traceparent"); got != "" {
		t.Errorf("the answer has a traceparent: %s", got)
	}
	ask(t, "GET", p.toApp+"x", "", "traceparent", given, "tracestate", "a=1", "baggage", "b=2")
	for name, want := range map[string]string{"Traceparent": given, "Tracestate": "a=1", "Baggage": "b=2"} {
		if got := p.app.fields()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("the app gets %s: %q, want %q", name, got, want)
		}
	}
}

func TestAFailedCallIsAFailedSpan(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusTeapot
		if r.URL.Path == "/broken" {
			status = http.StatusBadGateway
		}
		w.WriteHeader(status)
	}, c.otlp("grpc")...)
	nobody, _ := ask(t, "GET", p.toNobody+"x", "")
	lost := c.await(t, 1)["todo-api"]
	if !lost.failed || !strings.Contains(lost.message, "couldn't find service: nobody") || lost.attributes["dapr.status_code"] != "500" {
		t.Errorf("a call to nobody: %+v", lost)
	}
	if got := nobody.Header.Get("Traceparent"); !strings.Contains(got, lost.trace+"-"+lost.id) {
		t.Errorf("its answer says %q", got)
	}
	ask(t, "GET", p.toApp+"teapot", "")
	by := c.await(t, 3)
	if s := by["todo-api"]; !s.failed || s.message != "Code(418): I'm a teapot" {
		t.Errorf("the caller's span of a 418: %+v", s)
	}
	if s := by["notes"]; s.failed {
		t.Errorf("the callee's span of a 418 is a failure: %+v", s)
	}
	ask(t, "GET", p.toApp+"broken", "")
	if by = c.await(t, 5); !by["notes"].failed {
		t.Errorf("the callee's span of a 502: %+v", by["notes"])
	}
}

func TestASpanEndsWithItsAnswersBody(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	release := make(chan struct{})
	p := newPair(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "data: 2\n\n")
	}, c.otlp("grpc")...)
	r, err := http.NewRequestWithContext(within.Context(t), "GET", p.toApp+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := answer.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	streaming := time.Now()
	close(release)
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	for service, s := range c.await(t, 2) {
		if s.ended.Before(streaming) {
			t.Errorf("the span of %s ended %v before the stream", service, streaming.Sub(s.ended))
		}
	}
}

func TestTheDoorsOwnRoutesAreTraced(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, nil, c.otlp("grpc")...)
	ask(t, "GET", "http://"+p.caller.door+"/v1.0/healthz", "")
	answer, _ := ask(t, "GET", "http://"+p.caller.door+"/v1.0/metadata", "", "traceparent", given)
	s := c.await(t, 1)["todo-api"]
	if s.name != "/v1.0/metadata" || s.parent != givenSpan || s.kind != "SPAN_KIND_CLIENT" {
		t.Errorf("the span is %+v", s)
	}
	wantAttributes(t, s, map[string]string{
		"dapr.api": "GET /v1.0/metadata", "dapr.protocol": "http", "dapr.status_code": "200", "http.request.method": "GET",
	})
	if got, want := answer.Header.Get("Traceparent"), "00-"+givenTrace+"-"+s.id+"-01"; got != want {
		t.Errorf("the answer says %s, want %s", got, want)
	}
}

func TestTheLastSpansAreDeliveredAtTheEnd(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, nil, append(c.otlp("grpc"), "OTEL_BSP_SCHEDULE_DELAY=600000", "OTEL_SERVICE_NAME=mine")...)
	ask(t, "GET", p.toApp+"x", "")
	p.caller.end()
	p.callee.end()
	all := c.spans()
	if len(all) != 2 {
		t.Fatalf("delivered %v", all)
	}
	for _, s := range all {
		if s.service != "mine" {
			t.Errorf("the service is %q", s.service)
		}
	}
}

func TestACollectorThatIsDownIsSaidOnce(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t)
	p := newPair(t, nil, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+port.Addr(), "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
	for i := range 3 {
		if answer, text := ask(t, "GET", p.toApp+fmt.Sprint(i), ""); answer.StatusCode != 200 || text != "hello" {
			t.Fatalf("%s %q", answer.Status, text)
		}
		within.Until(t, "the warning", func() bool { return len(p.caller.notices("traces cannot be sent")) > 0 })
	}
	p.caller.end()
	said := p.caller.notices("traces cannot be sent")
	if len(said) != 1 || !strings.Contains(said[0].Text, port.Addr()) || said[0].Cause == "" {
		t.Errorf("it said %v", said)
	}
}
