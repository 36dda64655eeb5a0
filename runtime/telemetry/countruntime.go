package telemetry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// runtimeMetrics are those of what happens seldom, or waits for a store anyway.
type runtimeMetrics struct {
	namespace string

	appAllowed, appBlocked, globalAllowed, globalBlocked *family[prometheus.Counter]
	mtlsInit, mtlsInitFailed                             *family[prometheus.Counter]
	rotated, rotationFailed                              *family[prometheus.Counter]
	loaded, initialized, initFailed                      *family[prometheus.Counter]
	stateCount, secretCount                              *family[prometheus.Counter]
	stateLatency, secretLatency                          *family[prometheus.Observer]
	policiesLoaded, policyCount, activations             *family[prometheus.Counter]
	breakers                                             *family[prometheus.Gauge]
	errorCodes                                           *family[prometheus.Counter] // nil unless they are recorded
}

func newRuntimeMetrics(m *maker, o Counting, latencies []float64) runtimeMetrics {
	const namespace, trustDomain = "namespace", "trustDomain"
	policy := []string{"name", "policy", namespace, "flow_direction", "target", labelStatus}
	operation := []string{"component", namespace, "operation", "success"}
	r := runtimeMetrics{
		namespace:      o.Namespace,
		appAllowed:     m.counter("runtime_acl_app_policy_action_allowed_total", "Calls that a rule for the calling app allowed.", trustDomain, namespace),
		appBlocked:     m.counter("runtime_acl_app_policy_action_blocked_total", "Calls that a rule for the calling app refused.", trustDomain, namespace),
		globalAllowed:  m.counter("runtime_acl_global_policy_action_allowed_total", "Calls that the default of the access rules allowed.", trustDomain, namespace),
		globalBlocked:  m.counter("runtime_acl_global_policy_action_blocked_total", "Calls that the default of the access rules refused.", trustDomain, namespace),
		mtlsInit:       m.counter("runtime_mtls_init_total", "First certificates."),
		mtlsInitFailed: m.counter("runtime_mtls_init_fail_total", "First certificates that could not be had.", "reason"),
		rotated:        m.counter("runtime_mtls_workload_cert_rotated_total", "Certificates that were renewed."),
		rotationFailed: m.counter("runtime_mtls_workload_cert_rotated_fail_total", "Certificates that could not be renewed.", "reason"),
		loaded:         m.counter("runtime_component_loaded", "Components that are in use."),
		initialized:    m.counter("runtime_component_init_total", "Components that were opened.", "component"),
		initFailed:     m.counter("runtime_component_init_fail_total", "Components that could not be opened.", "component", "reason", "componentName"),
		stateCount:     m.counter("component_state_count", "Operations of state stores.", operation...),
		stateLatency:   m.histogram("component_state_latencies", "Milliseconds of an operation of a state store.", latencies, operation...),
		secretCount:    m.counter("component_secret_count", "Operations of secret stores.", operation...),
		secretLatency:  m.histogram("component_secret_latencies", "Milliseconds of an operation of a secret store.", latencies, operation...),
		policiesLoaded: m.counter("resiliency_loaded", "Resiliency resources that are in force.", "name", namespace),
		policyCount:    m.counter("resiliency_count", "Calls that a resiliency policy was for.", policy...),
		activations:    m.counter("resiliency_activations_total", "Times a resiliency policy did something.", policy...),
		breakers:       m.gauge("resiliency_cb_state", "1 for the state that a circuit breaker is in, 0 for the others.", policy...),
	}
	if o.Config.RecordErrorCodes {
		r.errorCodes = m.counter("error_code_total", "Errors by their code.", "error_code", "category")
	}
	return r
}

// A Decision is one of the access rules.
type Decision struct {
	// App, TrustDomain and Namespace are the caller's.
	App, TrustDomain, Namespace string
	// ByApp is true if a policy for the calling app decided, and not the default.
	ByApp, Allowed bool
}

// Access counts a decision. The label app_id is the caller's, as Dapr has it.
func (m *Metrics) Access(d Decision) {
	if m == nil {
		return
	}
	f := m.runtime.globalBlocked
	switch {
	case d.ByApp && d.Allowed:
		f = m.runtime.appAllowed
	case d.ByApp:
		f = m.runtime.appBlocked
	case d.Allowed:
		f = m.runtime.globalAllowed
	}
	f.with(d.App, d.TrustDomain, d.Namespace).Inc()
}

// CertificateMade counts the first certificate; reason is why there is none, or
// "".
func (m *Metrics) CertificateMade(reason string) {
	switch {
	case m == nil:
	case reason == "":
		m.runtime.mtlsInit.with(m.app).Inc()
	default:
		m.runtime.mtlsInitFailed.with(m.app, reason).Inc()
	}
}

// CertificateRenewed counts a renewal; reason is why it failed, or "".
func (m *Metrics) CertificateRenewed(reason string) {
	switch {
	case m == nil:
	case reason == "":
		m.runtime.rotated.with(m.app).Inc()
	default:
		m.runtime.rotationFailed.with(m.app, reason).Inc()
	}
}

// ComponentLoaded counts a component that is in use; kind is its type, such as
// state.redis.
func (m *Metrics) ComponentLoaded(kind string) {
	if m != nil {
		m.runtime.loaded.with(m.app).Inc()
		m.runtime.initialized.with(m.app, kind).Inc()
	}
}

// ComponentFailed counts a component that could not be opened. reason is Dapr's
// word: creation or init.
func (m *Metrics) ComponentFailed(kind, name, reason string) {
	if m != nil {
		m.runtime.initFailed.with(m.app, kind, reason, name).Inc()
	}
}

// StateOperation counts an operation of a state store: get, set, delete,
// bulk_get, bulk_delete, transaction or query.
func (m *Metrics) StateOperation(store, operation string, ok bool, took time.Duration) {
	if m != nil {
		success := strconv.FormatBool(ok)
		m.runtime.stateCount.with(m.app, store, m.runtime.namespace, operation, success).Inc()
		m.runtime.stateLatency.with(m.app, store, m.runtime.namespace, operation, success).Observe(milliseconds(took))
	}
}

// SecretOperation counts an operation of a secret store: get or bulk_get.
func (m *Metrics) SecretOperation(store, operation string, ok bool, took time.Duration) {
	if m != nil {
		success := strconv.FormatBool(ok)
		m.runtime.secretCount.with(m.app, store, m.runtime.namespace, operation, success).Inc()
		m.runtime.secretLatency.with(m.app, store, m.runtime.namespace, operation, success).Observe(milliseconds(took))
	}
}

// A Policy is one of a Resiliency resource, as it is applied to a target.
type Policy struct {
	Name string // the resource's
	// Kind is timeout, retry or circuitbreaker.
	Kind string
	// Inbound is the direction of the flow; otherwise it is outbound.
	Inbound bool
	// Target is app_<id>, or <component type>_<name>.
	Target string
	// Status is a circuit breaker's state: closed, half-open, open, unknown.
	Status string
}

// circuitBreaker is the Kind that has states, and breakerStates are they.
const circuitBreaker = "circuitbreaker"

var breakerStates = [...]string{"closed", "half-open", "open", "unknown"}

func (m *Metrics) labels(p Policy, status string) []string {
	flow := "outbound"
	if p.Inbound {
		flow = "inbound"
	}
	return []string{m.app, p.Name, p.Kind, m.runtime.namespace, flow, p.Target, status}
}

// PoliciesLoaded counts a Resiliency resource that is in force.
func (m *Metrics) PoliciesLoaded(name string) {
	if m != nil {
		m.runtime.policiesLoaded.with(m.app, name, m.runtime.namespace).Inc()
	}
}

// PolicyApplied counts a call that a policy was for, and notes the state of a
// circuit breaker.
func (m *Metrics) PolicyApplied(p Policy) {
	if m == nil {
		return
	}
	m.runtime.policyCount.with(m.labels(p, p.Status)...).Inc()
	m.breakerIn(p)
}

// breakerIn notes the state that a circuit breaker is in.
func (m *Metrics) breakerIn(p Policy) {
	if p.Kind != circuitBreaker {
		return
	}
	for _, state := range breakerStates {
		is := 0.0
		if state == p.Status {
			is = 1
		}
		m.runtime.breakers.with(m.labels(p, state)...).Set(is)
	}
}

// PolicyActivated counts that a policy did something: a retry was begun, a time
// was up, a breaker changed its state.
func (m *Metrics) PolicyActivated(p Policy) {
	if m != nil {
		m.runtime.activations.with(m.labels(p, p.Status)...).Inc()
		m.breakerIn(p)
	}
}

// ErrorCode counts an error that an API answered with, if they are recorded.
func (m *Metrics) ErrorCode(code string) {
	if m != nil && m.runtime.errorCodes != nil && code != "" {
		m.runtime.errorCodes.with(m.app, code, categoryOf(code)).Inc()
	}
}

// RecordsErrorCodes reports whether ErrorCode counts anything.
func (m *Metrics) RecordsErrorCodes() bool { return m != nil && m.runtime.errorCodes != nil }
