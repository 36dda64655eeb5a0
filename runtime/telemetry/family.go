package telemetry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

// maxSeries bounds the series of one family: what callers choose, paths above
// all, would fill the memory otherwise.
const maxSeries = 1000

// overflow is the label of what is counted together beyond maxSeries.
const overflow = "overflow"

// labelStatus is the label that stays what it is in an overflow: there are few.
const labelStatus = "status"

// A family makes series of one metric. What it makes is kept by who counts.
type family[T any] struct {
	labels []string
	rules  [][]rewrite // by label
	make   func(values ...string) T

	mu    sync.Mutex // guards what follows
	known map[string]T
}

// with is the series of values, which are those of the labels in order.
func (f *family[T]) with(values ...string) T {
	for i, rules := range f.rules {
		for _, r := range rules {
			values[i] = r.pattern.ReplaceAllString(values[i], r.name)
		}
	}
	key := strings.Join(values, "\xff")
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.known[key]; ok {
		return known
	}
	if len(f.known) >= maxSeries {
		for i := 1; i < len(values); i++ { // the first is whose they are
			if f.labels[i] != labelStatus {
				values[i] = overflow
			}
		}
		return f.make(values...) // as many as there are statuses
	}
	one := f.make(values...)
	if f.known == nil {
		f.known = map[string]T{}
	}
	f.known[strings.Clone(key)] = one
	return one
}

// A rewrite puts name in place of what pattern matches in a label's value.
type rewrite struct {
	pattern *regexp.Regexp
	name    string
}

// rewrites are the rules of spec.metrics.rules, by metric and label.
type rewrites map[[2]string][]rewrite

func newRewrites(rules []config.MetricRule) (rewrites, error) {
	all := rewrites{}
	for _, rule := range rules {
		for _, label := range rule.Labels {
			at := [2]string{ruleName(rule.Name), label.Name}
			for name, text := range label.Regex {
				pattern, err := regexp.Compile(text)
				if err != nil {
					return nil, &apperr.Error{
						Reason: apperr.OwnConfig, Err: err, Cause: err.Error(),
						What: fmt.Sprintf("the metric rule for %s of %s: %q is not a regular expression", label.Name, rule.Name, text),
					}
				}
				all[at] = append(all[at], rewrite{pattern: pattern, name: name})
			}
			slices.SortFunc(all[at], func(a, b rewrite) int { return strings.Compare(a.name, b.name) })
		}
	}
	return all, nil
}

// ruleName is a metric's name as rules are compared with it: written with
// slashes or underscores, with the prefix or without.
func ruleName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	return strings.TrimPrefix(name, prefix)
}

func (r rewrites) of(name string, labels []string) [][]rewrite {
	var all [][]rewrite
	for i, label := range labels {
		if found := r[[2]string{ruleName(name), label}]; len(found) > 0 {
			if all == nil {
				all = make([][]rewrite, len(labels))
			}
			all[i] = found
		}
	}
	return all
}

// A cache finds what is counted with often without making anything: with a
// small lock and a look into a map. It begins anew when it is full, so that
// what comes once costs no memory and what comes often is soon back.
type cache[K comparable, V any] struct {
	mu  sync.RWMutex // guards what follows
	all map[K]V
}

// maxCached bounds a cache.
const maxCached = 1024

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.RLock()
	v, ok := c.all[key]
	c.mu.RUnlock()
	return v, ok
}

// put keeps v under key, whose strings must be the cache's own.
func (c *cache[K, V]) put(key K, v V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxCached {
		c.all = make(map[K]V)
	}
	c.all[key] = v
	return v
}

// prefix begins the names that Dapr has, ownPrefix those that only pillion has.
const (
	prefix    = "dapr_"
	ownPrefix = "pillion_"
)

// A maker registers families with the label app_id before their own.
type maker struct {
	registry *prometheus.Registry
	rules    rewrites
}

func (m *maker) counter(name, help string, labels ...string) *family[prometheus.Counter] {
	labels = append([]string{"app_id"}, labels...)
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	m.registry.MustRegister(vec)
	return &family[prometheus.Counter]{
		labels: labels, rules: m.rules.of(name, labels),
		make: func(values ...string) prometheus.Counter { return vec.WithLabelValues(values...) },
	}
}

func (m *maker) gauge(name, help string, labels ...string) *family[prometheus.Gauge] {
	labels = append([]string{"app_id"}, labels...)
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
	m.registry.MustRegister(vec)
	return &family[prometheus.Gauge]{
		labels: labels, rules: m.rules.of(name, labels),
		make: func(values ...string) prometheus.Gauge { return vec.WithLabelValues(values...) },
	}
}

func (m *maker) histogram(name, help string, buckets []float64, labels ...string) *family[prometheus.Observer] {
	labels = append([]string{"app_id"}, labels...)
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(vec)
	return &family[prometheus.Observer]{
		labels: labels, rules: m.rules.of(name, labels),
		make: func(values ...string) prometheus.Observer { return vec.WithLabelValues(values...) },
	}
}
