package telemetry

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An RPC is one gRPC exchange that is over.
type RPC struct {
	// Method is its full name, with the slash before it.
	Method string
	Code   int
	// Sent and Received are the bytes of the messages to the server and from it,
	// negative if nobody has counted them: a stream's.
	Sent, Received int64
	Took           time.Duration
}

// codeNames are gRPC's statuses as its libraries write them.
var codeNames = [...]string{
	"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
	"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss",
	"Unauthenticated",
}

func codeName(code int) string {
	if code >= 0 && code < len(codeNames) {
		return codeNames[code]
	}
	return "Code(" + strconv.Itoa(code) + ")"
}

// rpcMetrics are those of one side.
type rpcMetrics struct {
	app            string
	completed      *family[prometheus.Counter]
	latency        *family[prometheus.Observer]
	sent, received *family[prometheus.Observer]
	cached         cache[rpcKey, rpcSeries]
}

type rpcKey struct {
	method string
	code   int
}

type rpcSeries struct {
	completed               prometheus.Counter
	latency, sent, received prometheus.Observer
}

type grpcMetrics struct {
	server, client rpcMetrics
	probes         *family[prometheus.Counter]
	probeLatency   *family[prometheus.Observer]
}

func newGRPCMetrics(m *maker, app string, latencies []float64) *grpcMetrics {
	const (
		serverMethod, serverStatus = "grpc_server_method", "grpc_server_status"
		clientMethod, clientStatus = "grpc_client_method", "grpc_client_status"
	)
	return &grpcMetrics{
		server: rpcMetrics{
			app:       app,
			completed: m.counter("grpc_io_server_completed_rpcs", "gRPC calls at the door.", serverMethod, serverStatus),
			latency:   m.histogram("grpc_io_server_server_latency", "Milliseconds of a gRPC call at the door.", latencies, serverMethod, serverStatus),
			sent:      m.histogram("grpc_io_server_received_bytes_per_rpc", "Bytes of the messages of a call at the door.", sizeBuckets, serverMethod),
			received:  m.histogram("grpc_io_server_sent_bytes_per_rpc", "Bytes of the messages that a call at the door is answered with.", sizeBuckets, serverMethod),
		},
		client: rpcMetrics{
			app:       app,
			completed: m.counter("grpc_io_client_completed_rpcs", "gRPC calls to the app.", clientMethod, clientStatus),
			latency:   m.histogram("grpc_io_client_roundtrip_latency", "Milliseconds of a gRPC call to the app.", latencies, clientMethod, clientStatus),
			sent:      m.histogram("grpc_io_client_sent_bytes_per_rpc", "Bytes of the messages of a call to the app.", sizeBuckets, clientMethod),
			received:  m.histogram("grpc_io_client_received_bytes_per_rpc", "Bytes of the messages that the app answers a call with.", sizeBuckets, clientMethod),
		},
		probes:       m.counter("grpc_io_healthprobes_completed_count", "Health probes of the app.", clientStatus),
		probeLatency: m.histogram("grpc_io_healthprobes_roundtrip_latency", "Milliseconds of a health probe.", latencies, clientStatus),
	}
}

// GRPCServer counts a gRPC call at the door.
func (m *Metrics) GRPCServer(r RPC) { m.grpc.server.count(r) }

// GRPCClient counts a gRPC call to the app.
func (m *Metrics) GRPCClient(r RPC) { m.grpc.client.count(r) }

func (r *rpcMetrics) count(one RPC) {
	key := rpcKey{method: one.Method, code: one.Code}
	s, ok := r.cached.get(key)
	if !ok {
		key.method = strings.Clone(key.method)
		name := codeName(key.code)
		s = r.cached.put(key, rpcSeries{
			completed: r.completed.with(r.app, key.method, name), latency: r.latency.with(r.app, key.method, name),
			sent: r.sent.with(r.app, key.method), received: r.received.with(r.app, key.method),
		})
	}
	s.completed.Inc()
	s.latency.Observe(milliseconds(one.Took))
	if one.Sent >= 0 {
		s.sent.Observe(float64(one.Sent))
	}
	if one.Received >= 0 {
		s.received.Observe(float64(one.Received))
	}
}

// GRPCProbe counts a health probe of an app that speaks gRPC.
func (m *Metrics) GRPCProbe(code int, took time.Duration) {
	if m != nil {
		name := codeName(code)
		m.grpc.probes.with(m.app, name).Inc()
		m.grpc.probeLatency.with(m.app, name).Observe(milliseconds(took))
	}
}
