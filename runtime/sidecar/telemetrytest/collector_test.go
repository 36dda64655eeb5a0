package telemetrytest_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/internal/within"
)

// A span is one span as a collector got it.
type span struct {
	service, name, kind string
	trace, id, parent   string
	state               string
	attributes          map[string]string
	failed              bool
	message             string
	began, ended        time.Time
}

// A collector takes spans by OTLP over gRPC, OTLP over HTTP, and Zipkin's API.
type collector struct {
	collect.UnimplementedTraceServiceServer
	t          *testing.T
	grpc, http string // addresses

	mu     sync.Mutex // guards what follows
	all    []span
	tokens []string // what x-token said, in each delivery
	posts  int
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	collect.RegisterTraceServiceServer(srv, c)
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) }) // until Stop
	t.Cleanup(func() { srv.Stop(); serving.Wait() })
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.post)
	mux.HandleFunc("POST /api/v2/spans", c.zipkin)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	c.grpc, c.http = ln.Addr().String(), web.Listener.Addr().String()
	return c
}

func (c *collector) Export(ctx context.Context, r *collect.ExportTraceServiceRequest) (*collect.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.take(r, md.Get("x-token"))
	return &collect.ExportTraceServiceResponse{}, nil
}

func (c *collector) post(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
		return
	}
	in := new(collect.ExportTraceServiceRequest)
	if err := proto.Unmarshal(data, in); err != nil {
		c.t.Error(err)
	}
	c.take(in, r.Header["X-Token"])
	out, err := proto.Marshal(&collect.ExportTraceServiceResponse{})
	if err != nil {
		c.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

func (c *collector) take(r *collect.ExportTraceServiceRequest, tokens []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts++
	c.tokens = append(c.tokens, tokens...)
	for _, rs := range r.GetResourceSpans() {
		service := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.all = append(c.all, spanOf(service, s))
			}
		}
	}
}

func spanOf(service string, s *otlp.Span) span {
	one := span{
		service: service, name: s.GetName(), kind: s.GetKind().String(),
		trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
		state: s.GetTraceState(), attributes: map[string]string{},
		failed: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR, message: s.GetStatus().GetMessage(),
		began: time.Unix(0, int64(s.GetStartTimeUnixNano())), ended: time.Unix(0, int64(s.GetEndTimeUnixNano())),
	}
	for _, a := range s.GetAttributes() {
		one.attributes[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return one
}

func (c *collector) zipkin(w http.ResponseWriter, r *http.Request) {
	var in []struct {
		TraceID, ID, ParentID, Name, Kind string
		LocalEndpoint                     struct{ ServiceName string }
		Tags                              map[string]string
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts++
	for _, s := range in {
		c.all = append(c.all, span{
			service: s.LocalEndpoint.ServiceName, name: s.Name, kind: s.Kind,
			trace: s.TraceID, id: s.ID, parent: s.ParentID, attributes: s.Tags,
		})
	}
	w.WriteHeader(http.StatusAccepted)
}

func (c *collector) spans() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// await waits for n spans and returns them by their service's name.
func (c *collector) await(t *testing.T, n int) map[string]span {
	t.Helper()
	within.Until(t, "the collector's spans", func() bool { return len(c.spans()) >= n })
	by := map[string]span{}
	for _, s := range c.spans() {
		by[s.service] = s
	}
	return by
}
