package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// Configuration reads c's Configuration resources, each file over the ones
// before it: single values and mappings key by key, lists as a whole. $NAME and
// ${NAME} in a file stand for the environment's. What is not there, is no YAML
// or has values of another kind is an error with file and line; what nobody
// knows is no error. Without files it is the zero Configuration.
func (c Sidecar) Configuration(getenv func(string) string) (Configuration, error) {
	m := &merged{from: map[ast.Node]string{}}
	var errs []error
	for _, file := range c.ConfigFiles {
		errs = append(errs, m.take(file, getenv))
	}
	if err := errors.Join(errs...); err != nil || m.body == nil {
		return Configuration{Silent: m.silent}, err
	}
	return m.configuration()
}

// merged are the files of a Configuration, taken together.
type merged struct {
	body *ast.MappingNode
	// from are the files that the parts are from: those of mappings and lists
	// that were taken whole.
	from map[ast.Node]string
	// silent are the files that say nothing.
	silent []string
}

// take merges a file in.
func (m *merged) take(file string, getenv func(string) string) error {
	data, err := readBounded(file)
	if err != nil {
		return unreadable("--config", file, err)
	}
	wrong := func(line int, message string) error {
		return &apperr.Error{Reason: apperr.OwnConfig, What: fmt.Sprintf("%s:%d: %s", file, line, message)}
	}
	parsed, err := parseYAML([]byte(os.Expand(string(data), getenv)))
	if err != nil {
		return wrong(yamlLine(err), yamlMessage(err))
	}
	if len(parsed.Docs) == 0 || len(entries(parsed.Docs[0].Body)) == 0 {
		m.silent = append(m.silent, file)
		return nil // of further documents Dapr reads none
	}
	body := parsed.Docs[0].Body
	if kind := child(body, "kind"); kind != nil && kind.GetToken().Value != "Configuration" {
		return wrong(firstLine(body), fmt.Sprintf("this is a %s, and no Configuration: its place is a folder of --resources-path", kind.GetToken().Value))
	}
	var alone configuration
	if err := decode(body, &alone); err != nil {
		return wrong(yamlLine(err), "Configuration "+alone.Metadata.Name+": "+yamlMessage(err))
	}
	if m.body == nil {
		m.body = ast.Mapping(body.GetToken(), false)
	}
	m.merge(m.body, body, file)
	return nil
}

// merge puts what a later mapping says over what is there.
func (m *merged) merge(into *ast.MappingNode, later ast.Node, file string) {
	for _, entry := range entries(later) {
		if entry.Value == nil || entry.Value.Type() == ast.NullType {
			continue // says nothing
		}
		m.from[entry.Value] = file
		at := slices.IndexFunc(into.Values, func(e *ast.MappingValueNode) bool {
			return e.Key.GetToken().Value == entry.Key.GetToken().Value
		})
		switch before := asMapping(into, at); {
		case at < 0:
			into.Values = append(into.Values, entry)
		case before != nil && len(entries(entry.Value)) > 0:
			m.merge(before, entry.Value, file)
		default:
			into.Values[at] = entry
		}
	}
}

// asMapping is the value at a place of a mapping if that is a mapping itself, in
// a form that can be added to.
func asMapping(in *ast.MappingNode, at int) *ast.MappingNode {
	if at < 0 {
		return nil
	}
	switch n := in.Values[at].Value.(type) {
	case *ast.MappingNode:
		return n
	case *ast.MappingValueNode:
		whole := ast.Mapping(n.GetToken(), false, n)
		in.Values[at].Value = whole
		return whole
	}
	return nil
}

// find is the part that keys lead to, and the file it is from; nil if there is
// none.
func (m *merged) find(keys ...string) (ast.Node, string) {
	var node ast.Node = m.body
	file := ""
	for _, key := range keys {
		if node = child(node, key); node == nil {
			return nil, ""
		}
		if from, known := m.from[node]; known {
			file = from
		}
	}
	return node, file
}

// at is the file and line of the part that keys lead to, or of one part of it,
// as far as they are known.
func (m *merged) at(keys ...string) string {
	node, file := m.find(keys...)
	if node == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", file, firstLine(node))
}

func (m *merged) atItem(i int, keys ...string) string {
	list, file := m.find(keys...)
	if parts := items(list); i < len(parts) {
		return fmt.Sprintf("%s:%d", file, firstLine(parts[i]))
	}
	return m.at(keys...)
}

// problem is a mistake at a place.
func (m *merged) problem(at, format string, values ...any) error {
	if at == "" {
		at = "the Configuration"
	}
	return &apperr.Error{Reason: apperr.OwnConfig, What: at + ": " + fmt.Sprintf(format, values...)}
}

// configuration gives what was merged its form.
func (m *merged) configuration() (Configuration, error) {
	var given configuration
	if err := decode(m.body, &given); err != nil {
		return Configuration{}, m.problem("", "%s", yamlMessage(err))
	}
	spec := given.Spec
	var errs []error
	wait := func(text yamlScalar, keys ...string) time.Duration {
		d, err := parseWaitText(string(text))
		if err != nil {
			errs = append(errs, m.problem(m.at(keys...), "%s: %v", strings.Join(keys, "."), err))
		}
		return d
	}
	out := Configuration{
		Name: given.Metadata.Name, Silent: m.silent,
		Tracing: Tracing{
			SamplingRate: string(spec.Tracing.SamplingRate), Stdout: spec.Tracing.Stdout, ZipkinEndpoint: spec.Tracing.Zipkin.Endpoint,
			OTel: OTel{
				Protocol: spec.Tracing.OTel.Protocol, Endpoint: spec.Tracing.OTel.Endpoint,
				Secure:  spec.Tracing.OTel.Secure == nil || *spec.Tracing.OTel.Secure,
				Timeout: wait(spec.Tracing.OTel.Timeout, "spec", "tracing", "otel", "timeout"),
			},
		},
		Metrics: spec.Metric.under(spec.Metrics),
		APILogging: APILogging{
			Enabled: spec.Logging.API.Enabled, ObfuscateURLs: spec.Logging.API.ObfuscateURLs, OmitHealthChecks: spec.Logging.API.OmitHealthChecks,
		},
		API:            APILists{Allowed: apiRules(spec.API.Allowed), Denied: apiRules(spec.API.Denied)},
		AccessControl:  m.accessControl(spec.AccessControl),
		NameResolution: NameResolution{spec.NameResolution.Component, string(spec.NameResolution.Version), spec.NameResolution.Configuration},
		HTTPPipeline:   m.handlers(spec.HTTPPipeline, "httpPipeline"), AppHTTPPipeline: m.handlers(spec.AppHTTPPipeline, "appHttpPipeline"),
		DeniedComponents: spec.Components.Deny,
	}
	for _, h := range spec.Tracing.OTel.Headers {
		set(&out.Tracing.OTel.Headers, h.name, h.value)
	}
	for _, f := range spec.Features {
		if f.Name != "" {
			set(&out.Features, f.Name, f.Enabled)
		}
	}
	if given := spec.MTLS; given != nil {
		out.MTLS = &MTLS{
			Enabled: given.Enabled, SentryAddress: given.SentryAddress, ControlPlaneTrustDomain: given.ControlPlaneTrustDomain,
			WorkloadCertTTL:  wait(given.WorkloadCertTTL, "spec", "mtls", "workloadCertTTL"),
			AllowedClockSkew: wait(given.AllowedClockSkew, "spec", "mtls", "allowedClockSkew"),
		}
	}
	errs = append(errs, m.secretScopes(given, &out))
	return out, errors.Join(errs...)
}

// parseWaitText reads a time as Dapr's resources have it: 5s. Empty is none.
func parseWaitText(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a time such as 5s", text)
	}
	return d, nil
}

// secretScopes judges spec.secrets.
func (m *merged) secretScopes(given configuration, out *Configuration) error {
	for i, s := range given.Spec.Secrets.Scopes {
		at := m.atItem(i, "spec", "secrets", "scopes")
		deny := strings.EqualFold(s.Default, "deny")
		switch _, twice := out.SecretScopes[s.Store]; {
		case twice:
			return m.problem(at, "spec.secrets.scopes names the store %q twice", s.Store)
		case s.Default != "" && !deny && !strings.EqualFold(s.Default, "allow"):
			return m.problem(at, "spec.secrets.scopes: defaultAccess %q is neither allow nor deny", s.Default)
		}
		set(&out.SecretScopes, s.Store, SecretScope{Deny: deny, Allowed: s.Allowed, Denied: s.Denied})
	}
	return nil
}

func apiRules(given []apiRule) []APIRule {
	var out []APIRule
	for _, r := range given {
		out = append(out, APIRule{r.Name, string(r.Version), r.Protocol})
	}
	return out
}

func (m *merged) handlers(given pipeline, name string) []Handler {
	var out []Handler
	for i, h := range given.Handlers {
		out = append(out, Handler{h.Name, h.Type, string(h.Version), m.atItem(i, "spec", name, "handlers")})
	}
	return out
}

func (m *merged) accessControl(given accessSpec) AccessControl {
	out := AccessControl{DefaultAction: given.DefaultAction, TrustDomain: given.TrustDomain}
	list, file := m.find("spec", "accessControl", "policies")
	policies := items(list)
	for i, p := range given.Policies {
		policy := AccessPolicy{
			AppID: p.AppID, TrustDomain: p.TrustDomain, Namespace: p.Namespace, DefaultAction: p.DefaultAction,
			At: m.atItem(i, "spec", "accessControl", "policies"),
		}
		var operations []ast.Node
		if i < len(policies) {
			operations = items(child(policies[i], "operations"))
		}
		for j, o := range p.Operations {
			at := policy.At
			if j < len(operations) {
				at = file + ":" + strconv.Itoa(firstLine(operations[j]))
			}
			policy.Operations = append(policy.Operations, AccessOperation{Name: o.Name, Verbs: o.Verbs, Action: o.Action, At: at})
		}
		out.Policies = append(out.Policies, policy)
	}
	return out
}

// under is spec.metric where spec.metrics says more. As with Dapr, what that
// says of HTTP, the buckets and the rules counts as a whole.
func (s metricSpec) under(later metricSpec) Metrics {
	if later.Enabled != nil {
		s.Enabled = later.Enabled
	}
	if later.RecordErrorCodes != nil {
		s.RecordErrorCodes = later.RecordErrorCodes
	}
	if later.HTTP != nil {
		s.HTTP = later.HTTP
	}
	if later.Buckets != nil {
		s.Buckets = later.Buckets
	}
	if len(later.Rules) > 0 {
		s.Rules = later.Rules
	}
	out := Metrics{Enabled: s.Enabled, RecordErrorCodes: s.RecordErrorCodes != nil && *s.RecordErrorCodes, LatencyBuckets: s.Buckets}
	if s.HTTP != nil {
		out.IncreasedCardinality, out.PathMatching, out.ExcludeVerbs = s.HTTP.IncreasedCardinality, s.HTTP.PathMatching, s.HTTP.ExcludeVerbs
	}
	for _, r := range s.Rules {
		rule := MetricRule{Name: r.Name}
		for _, l := range r.Labels {
			rule.Labels = append(rule.Labels, MetricLabel{l.Name, l.Regex})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}
