package sidecar

import (
	"maps"
	"reflect"
	"slices"

	"github.com/pillion-dev/pillion/runtime/config"
)

// changesOf says in words what differs between two readings of the resources;
// nothing if they say the same, in whatever place.
func changesOf(old, now *resources) []string {
	out := slices.Concat(
		changed("component", components(old), components(now)),
		changed("HTTPEndpoint", endpoints(old), endpoints(now)),
		changed("resiliency", resiliencies(old), resiliencies(now)),
	)
	before, after := withoutPlaces(old.Configuration), withoutPlaces(now.Configuration)
	if !reflect.DeepEqual(before.AccessControl, after.AccessControl) {
		out = append(out, "access control changed")
	}
	before.AccessControl, after.AccessControl = config.AccessControl{}, config.AccessControl{}
	if old.pipeline != nil {
		if !reflect.DeepEqual(before.HTTPPipeline, after.HTTPPipeline) {
			out = append(out, "pipeline changed")
		}
		before.HTTPPipeline, after.HTTPPipeline = nil, nil
	}
	if !reflect.DeepEqual(before, after) {
		out = append(out, "the rest of the configuration changed, and counts from the next start")
	}
	return out
}

// withoutPlaces is a Configuration without where its parts stand.
func withoutPlaces(c config.Configuration) config.Configuration {
	c.Silent = nil
	c.HTTPPipeline, c.AppHTTPPipeline = slices.Clone(c.HTTPPipeline), slices.Clone(c.AppHTTPPipeline)
	for _, handlers := range [][]config.Handler{c.HTTPPipeline, c.AppHTTPPipeline} {
		for i := range handlers {
			handlers[i].At = ""
		}
	}
	c.AccessControl.Policies = slices.Clone(c.AccessControl.Policies)
	for i := range c.AccessControl.Policies {
		p := &c.AccessControl.Policies[i]
		p.At, p.Operations = "", slices.Clone(p.Operations)
		for j := range p.Operations {
			p.Operations[j].At = ""
		}
	}
	return c
}

// changed compares what there is of one kind by name.
func changed(kind string, old, now map[string]any) []string {
	all := maps.Clone(old)
	maps.Copy(all, now)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		before, was := old[name]
		after, is := now[name]
		switch {
		case !was:
			out = append(out, kind+" "+name+" added")
		case !is:
			out = append(out, kind+" "+name+" removed")
		case !reflect.DeepEqual(before, after):
			out = append(out, kind+" "+name+" changed")
		}
	}
	return out
}

func components(r *resources) map[string]any {
	out := map[string]any{}
	for _, c := range r.Components {
		c.At = "" // where it stands is no part of what it says
		out[c.Name] = c
	}
	return out
}

func endpoints(r *resources) map[string]any {
	out := map[string]any{}
	for _, e := range r.HTTPEndpoints {
		e.At = ""
		out[e.Name] = e
	}
	return out
}

func resiliencies(r *resources) map[string]any {
	out := map[string]any{}
	for _, one := range r.Resiliencies {
		out[one.Name] = elsewhere(one)
	}
	return out
}

// elsewhere is a resiliency without where its parts stand.
func elsewhere(r config.Resiliency) config.Resiliency {
	r.At = ""
	r.Policies.Timeouts = each(r.Policies.Timeouts, func(t *config.Timeout) { t.At = "" })
	r.Policies.Retries = each(r.Policies.Retries, func(p *config.Retry) { p.At = "" })
	r.Policies.CircuitBreakers = each(r.Policies.CircuitBreakers, func(b *config.CircuitBreaker) { b.At = "" })
	r.Targets.Apps = each(r.Targets.Apps, func(t *config.TargetPolicies) { t.At = "" })
	r.Targets.Components = each(r.Targets.Components, func(t *config.ComponentPolicies) { t.Inbound.At, t.Outbound.At = "", "" })
	return r
}

// each is a copy of a map with each value changed.
func each[T any](all map[string]T, change func(*T)) map[string]T {
	out := maps.Clone(all)
	for name, value := range out {
		change(&value)
		out[name] = value
	}
	return out
}
