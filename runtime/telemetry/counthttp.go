package telemetry

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Request is one HTTP exchange that is over.
type Request struct {
	Verb string
	// Path is the request target, raw; a query is not looked at.
	Path   string
	Status int
	// Sent and Received are the bytes of the request's and the answer's body as
	// far as they are known.
	Sent, Received int64
	Took           time.Duration
}

// httpKey is what tells one series from another, before it is a label. A path
// without a label is "".
type httpKey struct {
	verb, path string
	status     int
}

func (k httpKey) own() httpKey {
	k.verb, k.path = strings.Clone(k.verb), strings.Clone(k.path)
	return k
}

type httpMetrics struct {
	app   string
	paths paths

	serverCount, serverResponses *family[prometheus.Counter]
	serverLatency                *family[prometheus.Observer]
	serverIn, serverOut          prometheus.Observer
	server                       cache[httpKey, serverSeries]

	clientCount                *family[prometheus.Counter]
	clientLatency, clientBytes *family[prometheus.Observer]
	clientIn                   prometheus.Observer
	client                     cache[httpKey, clientSeries]

	probes       *family[prometheus.Counter]
	probeLatency *family[prometheus.Observer]
}

type serverSeries struct {
	count, responses prometheus.Counter // responses is nil in low cardinality
	latency          prometheus.Observer
}

type clientSeries struct {
	count         prometheus.Counter
	latency, sent prometheus.Observer
}

func newHTTPMetrics(m *maker, app string, p paths, latencies []float64) *httpMetrics {
	h := &httpMetrics{
		app: app, paths: p,
		serverCount:   m.counter("http_server_request_count", "HTTP requests at the door.", "method", "path", labelStatus),
		serverLatency: m.histogram("http_server_latency", "Milliseconds from a request at the door to the end of its answer.", latencies, "method", "path", labelStatus),
		serverIn:      m.histogram("http_server_request_bytes", "Bytes of request bodies at the door whose length was said.", sizeBuckets).with(app),
		serverOut:     m.histogram("http_server_response_bytes", "Bytes of answers' bodies at the door.", sizeBuckets).with(app),
		clientCount:   m.counter("http_client_completed_count", "HTTP requests to the app that it answered.", "method", "path", labelStatus),
		clientLatency: m.histogram("http_client_roundtrip_latency", "Milliseconds until the head of the app's answer.", latencies, "method", "path", labelStatus),
		clientBytes:   m.histogram("http_client_sent_bytes", "Bytes of request bodies to the app.", sizeBuckets, "method", "path", labelStatus),
		clientIn:      m.histogram("http_client_received_bytes", "Bytes of the app's answers whose length was said.", sizeBuckets).with(app),
		probes:        m.counter("http_healthprobes_completed_count", "Health probes of the app.", labelStatus),
		probeLatency:  m.histogram("http_healthprobes_roundtrip_latency", "Milliseconds of a health probe.", latencies, labelStatus),
	}
	if p.increased {
		h.serverResponses = m.counter("http_server_response_count", "HTTP answers at the door.", "method", "path", labelStatus)
	}
	return h
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// HTTPServer counts a request at the door.
func (m *Metrics) HTTPServer(r Request) {
	h := m.http
	key := httpKey{verb: r.Verb, status: r.Status}
	if !h.paths.one() {
		key.path = withoutQuery(r.Path)
	}
	s, ok := h.server.get(key)
	if !ok {
		s = h.newServerSeries(key.own())
	}
	s.count.Inc()
	s.latency.Observe(milliseconds(r.Took))
	if s.responses != nil {
		s.responses.Inc()
	}
	h.serverIn.Observe(float64(r.Sent))
	h.serverOut.Observe(float64(r.Received))
}

func (h *httpMetrics) newServerSeries(key httpKey) serverSeries {
	path, verb, status := "", h.paths.verb(key.verb), strconv.Itoa(key.status)
	if key.path != "" {
		path = h.paths.label(plainPath(key.path))
	}
	s := serverSeries{
		count: h.serverCount.with(h.app, verb, path, status), latency: h.serverLatency.with(h.app, verb, path, status),
	}
	if h.serverResponses != nil {
		s.responses = h.serverResponses.with(h.app, verb, path, status)
	}
	return h.server.put(key, s)
}

// HTTPClient counts a request to the app.
func (m *Metrics) HTTPClient(r Request) {
	h := m.http
	key := httpKey{verb: r.Verb, path: withoutQuery(r.Path), status: r.Status}
	if h.paths.one() && !staticPaths[key.path] {
		key.path = ""
	}
	s, ok := h.client.get(key)
	if !ok {
		s = h.newClientSeries(key.own())
	}
	s.count.Inc()
	s.latency.Observe(milliseconds(r.Took))
	s.sent.Observe(float64(r.Sent))
	h.clientIn.Observe(float64(r.Received))
}

func (h *httpMetrics) newClientSeries(key httpKey) clientSeries {
	path, verb, status := "", h.paths.verb(key.verb), strconv.Itoa(key.status)
	if key.path != "" {
		path = h.paths.label(plainPath(key.path))
	}
	return h.client.put(key, clientSeries{
		count: h.clientCount.with(h.app, verb, path, status), latency: h.clientLatency.with(h.app, verb, path, status),
		sent: h.clientBytes.with(h.app, verb, path, ""), // it is sent before there is a status
	})
}

// HTTPProbe counts a health probe of an app that speaks HTTP.
func (m *Metrics) HTTPProbe(status int, took time.Duration) {
	if m != nil {
		text := strconv.Itoa(status)
		m.http.probes.with(m.app, text).Inc()
		m.http.probeLatency.with(m.app, text).Observe(milliseconds(took))
	}
}
