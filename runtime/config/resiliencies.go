package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// resiliency is Dapr's resource.
type resiliency struct {
	Spec struct {
		Policies struct {
			Timeouts        map[string]yamlScalar     `yaml:"timeouts"`
			Retries         map[string]retry          `yaml:"retries"`
			CircuitBreakers map[string]circuitBreaker `yaml:"circuitBreakers"`
		} `yaml:"policies"`
		Targets struct {
			Apps       map[string]target `yaml:"apps"`
			Components map[string]struct {
				Inbound  target `yaml:"inbound"`
				Outbound target `yaml:"outbound"`
			} `yaml:"components"`
		} `yaml:"targets"`
	} `yaml:"spec"`
}

type retry struct {
	Policy      string     `yaml:"policy"`
	Duration    yamlScalar `yaml:"duration"`
	MaxInterval yamlScalar `yaml:"maxInterval"`
	MaxRetries  yamlInt    `yaml:"maxRetries"`
	Matching    struct {
		HTTP yamlScalar `yaml:"httpStatusCodes"`
		GRPC yamlScalar `yaml:"gRPCStatusCodes"`
	} `yaml:"matching"`
}

type circuitBreaker struct {
	MaxRequests yamlInt    `yaml:"maxRequests"`
	Interval    yamlScalar `yaml:"interval"`
	Timeout     yamlScalar `yaml:"timeout"`
	Trip        string     `yaml:"trip"`
}

type target struct {
	Timeout        string  `yaml:"timeout"`
	Retry          string  `yaml:"retry"`
	CircuitBreaker string  `yaml:"circuitBreaker"`
	CacheSize      yamlInt `yaml:"circuitBreakerCacheSize"`
}

// resiliency reads one resource. Whether its words mean something is for those
// who carry it out.
func (r *resource) resiliency() (Resiliency, error) {
	var given resiliency
	if err := r.into(&given); err != nil {
		return Resiliency{}, err
	}
	if r.head.Metadata.Name == "" {
		return Resiliency{}, r.problem("metadata.name is missing")
	}
	spec := child(r.body, "spec")
	out := Resiliency{Name: r.head.Metadata.Name, At: r.at()}
	out.Policies = given.policies(r, child(spec, "policies"))
	targets := child(spec, "targets")
	for app, t := range given.Spec.Targets.Apps {
		set(&out.Targets.Apps, app, t.policies(r.lineOf(child(targets, "apps"), app)))
	}
	for name, c := range given.Spec.Targets.Components {
		at := r.lineOf(child(targets, "components"), name)
		set(&out.Targets.Components, name, ComponentPolicies{Inbound: c.Inbound.policies(at), Outbound: c.Outbound.policies(at)})
	}
	return out, nil
}

func (given resiliency) policies(r *resource, at ast.Node) ResiliencyPolicies {
	var out ResiliencyPolicies
	for name, value := range given.Spec.Policies.Timeouts {
		set(&out.Timeouts, name, Timeout{Value: string(value), At: r.lineOf(child(at, "timeouts"), name)})
	}
	for name, p := range given.Spec.Policies.Retries {
		set(&out.Retries, name, Retry{
			Policy: p.Policy, Duration: string(p.Duration), MaxInterval: string(p.MaxInterval), MaxRetries: p.MaxRetries.n,
			HTTPStatusCodes: string(p.Matching.HTTP), GRPCStatusCodes: string(p.Matching.GRPC),
			At: r.lineOf(child(at, "retries"), name),
		})
	}
	for name, p := range given.Spec.Policies.CircuitBreakers {
		set(&out.CircuitBreakers, name, CircuitBreaker{
			MaxRequests: p.MaxRequests.or(0), Interval: string(p.Interval), Timeout: string(p.Timeout), Trip: p.Trip,
			At: r.lineOf(child(at, "circuitBreakers"), name),
		})
	}
	return out
}

func (t target) policies(at string) TargetPolicies {
	return TargetPolicies{
		Timeout: t.Timeout, Retry: t.Retry, CircuitBreaker: t.CircuitBreaker,
		CircuitBreakerCacheSize: t.CacheSize.or(0), At: at,
	}
}

// lineOf is the file and line of a key, or of the resource where the key came
// by way of an alias.
func (r *resource) lineOf(node ast.Node, key string) string {
	if entry := entryOf(node, key); entry != nil {
		return fmt.Sprintf("%s:%d", r.file, entry.Key.GetToken().Position.Line)
	}
	return r.at()
}

func set[T any](to *map[string]T, name string, value T) {
	if *to == nil {
		*to = map[string]T{}
	}
	(*to)[name] = value
}
