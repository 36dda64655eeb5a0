package config

import (
	"slices"
	"time"
)

// A Configuration is Dapr's Configuration resource: all files of --config,
// merged. The zero value is what holds without one.
type Configuration struct {
	// Name is the last resource's name.
	Name string
	// Silent are the files that say nothing.
	Silent         []string
	Tracing        Tracing
	Metrics        Metrics
	APILogging     APILogging
	API            APILists
	AccessControl  AccessControl
	NameResolution NameResolution
	// HTTPPipeline is for requests at the door, AppHTTPPipeline for those to the
	// app.
	HTTPPipeline, AppHTTPPipeline []Handler
	// MTLS is spec.mtls; nil if nothing was said.
	MTLS *MTLS
	// DeniedComponents are component types that are not to be loaded.
	DeniedComponents []string
	// Features are preview features by name.
	Features map[string]bool
	// SecretScopes say which secrets of a store the app may ask for, by the
	// store's name.
	SecretScopes map[string]SecretScope
}

// A SecretScope is one of spec.secrets.scopes. Deny is for what neither list
// has; if Allowed has any, only those are.
type SecretScope struct {
	Deny            bool
	Allowed, Denied []string
}

// Allows reports whether the app may ask for a secret.
func (s SecretScope) Allows(name string) bool {
	if len(s.Allowed) > 0 {
		return slices.Contains(s.Allowed, name)
	}
	return !s.Deny && !slices.Contains(s.Denied, name)
}

// Tracing is spec.tracing.
type Tracing struct {
	// SamplingRate is as it was written: Dapr tells "" from "0".
	SamplingRate string
	Stdout       bool
	// ZipkinEndpoint is a URL; "" for none.
	ZipkinEndpoint string
	OTel           OTel
}

// OTel is spec.tracing.otel.
type OTel struct {
	Protocol string // http or grpc
	Endpoint string // "" for none
	Secure   bool   // Dapr's default is true
	Headers  map[string]string
	Timeout  time.Duration // 0: the exporter's own
}

// Metrics is spec.metric or spec.metrics.
type Metrics struct {
	// Enabled is nil if nothing was said, which is the profile's choice.
	Enabled          *bool
	RecordErrorCodes bool
	// IncreasedCardinality is nil if nothing was said: true, as Dapr's.
	IncreasedCardinality *bool
	PathMatching         []string
	ExcludeVerbs         bool
	// LatencyBuckets are milliseconds; nil for Dapr's.
	LatencyBuckets []float64
	Rules          []MetricRule
}

// A MetricRule rewrites label values: what a regular expression matches becomes
// its name.
type MetricRule struct {
	Name   string
	Labels []MetricLabel
}

// A MetricLabel is one label of a rule.
type MetricLabel struct {
	Name  string
	Regex map[string]string
}

// APILogging is spec.logging.apiLogging. Enabled is nil if nothing was said.
type APILogging struct {
	Enabled          *bool
	ObfuscateURLs    bool
	OmitHealthChecks bool
}

// LogsAPI reports whether there is an API log: what the command line or the file
// say counts before the Configuration.
func (c Sidecar) LogsAPI(conf APILogging) bool {
	return c.APILogging || !c.APILoggingOff && conf.Enabled != nil && *conf.Enabled
}

// APILists are spec.api: what the doors offer.
type APILists struct{ Allowed, Denied []APIRule }

// An APIRule names one API.
type APIRule struct{ Name, Version, Protocol string }

// A Handler is one middleware of a pipeline.
type Handler struct {
	Name, Type, Version string
	// At is the file and line it stands in.
	At string
}

// NameResolution is spec.nameResolution.
type NameResolution struct {
	Component, Version string
	Configuration      map[string]any
}

// MTLS is spec.mtls.
type MTLS struct {
	Enabled                 bool
	WorkloadCertTTL         time.Duration
	AllowedClockSkew        time.Duration
	SentryAddress           string
	ControlPlaneTrustDomain string
}

// AccessControl is spec.accessControl. The zero value is no policy.
type AccessControl struct {
	DefaultAction, TrustDomain string
	Policies                   []AccessPolicy
}

// An AccessPolicy is what one calling app may do.
type AccessPolicy struct {
	AppID, TrustDomain, Namespace, DefaultAction string
	Operations                                   []AccessOperation
	// At is the file and line it stands in.
	At string
}

// An AccessOperation is one rule of a policy.
type AccessOperation struct {
	Name   string
	Verbs  []string
	Action string
	// At is the file and line it stands in.
	At string
}

// A Component is one of Dapr's Component resources, its metadata resolved:
// secrets and variables are values here. It is never printed as a whole.
type Component struct {
	Name, Type, Version string
	Metadata            map[string]string
	IgnoreErrors        bool
	InitTimeout         time.Duration // 0: Dapr's 5s
	// Unusable is why it cannot be used by this version; "" if it can. Unknown
	// is true if that is because nobody knows its type, Dapr neither.
	Unusable string
	Unknown  bool
	// At is the file and line it stands in.
	At string
}

// A Resiliency is one of Dapr's Resiliency resources as it was written, with
// the lines its parts stand in. runtime/resiliency gives it a meaning.
type Resiliency struct {
	Name string
	// At is the file and line it stands in.
	At       string
	Policies ResiliencyPolicies
	Targets  ResiliencyTargets
}

// ResiliencyPolicies are spec.policies.
type ResiliencyPolicies struct {
	Timeouts        map[string]Timeout
	Retries         map[string]Retry
	CircuitBreakers map[string]CircuitBreaker
}

// A Timeout is a named time-out, as text.
type Timeout struct{ Value, At string }

// A Retry is a named retry policy, as text; "" is not said.
type Retry struct {
	Policy, Duration, MaxInterval    string
	MaxRetries                       *int
	HTTPStatusCodes, GRPCStatusCodes string
	At                               string
}

// A CircuitBreaker is a named circuit breaker, as text; "" is not said.
type CircuitBreaker struct {
	MaxRequests             int
	Interval, Timeout, Trip string
	At                      string
}

// ResiliencyTargets are spec.targets.
type ResiliencyTargets struct {
	Apps       map[string]TargetPolicies
	Components map[string]ComponentPolicies
}

// TargetPolicies are the names of a target's policies; "" for none.
type TargetPolicies struct {
	Timeout, Retry, CircuitBreaker string
	CircuitBreakerCacheSize        int
	At                             string
}

// ComponentPolicies are those of both directions.
type ComponentPolicies struct{ Inbound, Outbound TargetPolicies }
