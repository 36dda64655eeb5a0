package telemetry

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type callMetrics struct {
	app string

	requestsSent, requestsReceived, answersSent, answersReceived *family[prometheus.Counter]
	latency                                                      *family[prometheus.Observer]

	sent     cache[sentKey, prometheus.Counter]
	answers  cache[answerKey, answerSeries]
	received cache[string, prometheus.Counter]
	said     cache[saidKey, prometheus.Counter]
}

type sentKey struct {
	app       string
	streaming bool
}

type answerKey struct {
	app       string
	status    int
	streaming bool
}

type answerSeries struct {
	count   prometheus.Counter
	latency prometheus.Observer // nil for a stream
}

type saidKey struct {
	app    string
	status int
}

func newCallMetrics(m *maker, app string, latencies []float64) *callMetrics {
	const family = "runtime_service_invocation_"
	return &callMetrics{
		app:              app,
		requestsSent:     m.counter(family+"req_sent_total", "Calls that the app made.", "dst_app_id", "type"),
		requestsReceived: m.counter(family+"req_recv_total", "Calls that came for the app.", "src_app_id"),
		answersSent:      m.counter(family+"res_sent_total", "Answers to calls that came for the app.", "dst_app_id", labelStatus),
		answersReceived:  m.counter(family+"res_recv_total", "Answers to calls that the app made.", "src_app_id", labelStatus, "type"),
		latency:          m.histogram(family+"res_recv_latency_ms", "Milliseconds until the answer to a call that the app made.", latencies, "src_app_id", labelStatus),
	}
}

func kindOf(streaming bool) string {
	if streaming {
		return "streaming"
	}
	return "unary"
}

// CallSent counts a call that the own app makes to another one.
func (m *Metrics) CallSent(to string, streaming bool) {
	key := sentKey{app: to, streaming: streaming}
	c, ok := m.calls.sent.get(key)
	if !ok {
		key.app = strings.Clone(to)
		c = m.calls.sent.put(key, m.calls.requestsSent.with(m.app, key.app, kindOf(streaming)))
	}
	c.Inc()
}

// AnswerReceived counts the answer to a call that the own app made, with the
// HTTP status, or gRPC's for a gRPC call.
func (m *Metrics) AnswerReceived(from string, status int, streaming bool, took time.Duration) {
	key := answerKey{app: from, status: status, streaming: streaming}
	s, ok := m.calls.answers.get(key)
	if !ok {
		key.app = strings.Clone(from)
		text := strconv.Itoa(status)
		s.count = m.calls.answersReceived.with(m.app, key.app, text, kindOf(streaming))
		if !streaming {
			s.latency = m.calls.latency.with(m.app, key.app, text)
		}
		m.calls.answers.put(key, s)
	}
	s.count.Inc()
	if s.latency != nil {
		s.latency.Observe(milliseconds(took))
	}
}

// CallReceived counts a call that another app makes to the own one.
func (m *Metrics) CallReceived(from string) {
	c, ok := m.calls.received.get(from)
	if !ok {
		from = strings.Clone(from)
		c = m.calls.received.put(from, m.calls.requestsReceived.with(m.app, from))
	}
	c.Inc()
}

// AnswerSent counts the answer to a call that another app made.
func (m *Metrics) AnswerSent(to string, status int) {
	key := saidKey{app: to, status: status}
	c, ok := m.calls.said.get(key)
	if !ok {
		key.app = strings.Clone(to)
		c = m.calls.said.put(key, m.calls.answersSent.with(m.app, key.app, strconv.Itoa(status)))
	}
	c.Inc()
}
