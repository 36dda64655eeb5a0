package telemetry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

// Counting says what to count.
type Counting struct {
	// Config is what the Configuration resource says.
	Config config.Metrics
	// AppID and Namespace say whose metrics they are.
	AppID, Namespace string
}

// latencyBuckets are Dapr's, in milliseconds; sizeBuckets in bytes.
var (
	latencyBuckets = []float64{
		1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800,
		1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000,
	}
	sizeBuckets = []float64{
		1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30, 4 << 30,
	}
)

// scrapesAtOnce bounds those who read the metrics at the same time.
const scrapesAtOnce = 8

// Metrics counts, by Dapr's names. Its methods may be called at any time and
// from many goroutines; on a nil Metrics those that are not for each call do
// nothing. What has been counted once costs no allocation the next time.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler
	app      string
	http     *httpMetrics
	grpc     *grpcMetrics
	calls    *callMetrics
	runtime  runtimeMetrics
}

// NewMetrics makes Metrics with a registry of their own, the process's and Go's
// among them.
func NewMetrics(o Counting) (*Metrics, error) {
	rules, err := newRewrites(o.Config.Rules)
	if err != nil {
		return nil, err
	}
	latencies, err := bucketsOf(o.Config)
	if err != nil {
		return nil, err
	}
	paths, err := newPaths(o.Config)
	if err != nil {
		return nil, err
	}
	m := maker{registry: prometheus.NewRegistry(), rules: rules}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return &Metrics{
		registry: m.registry, app: o.AppID,
		// A registry that cannot be read in part is read as far as it can be.
		handler: promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
			ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapesAtOnce,
		}),
		http: newHTTPMetrics(&m, o.AppID, paths, latencies), grpc: newGRPCMetrics(&m, o.AppID, latencies),
		calls: newCallMetrics(&m, o.AppID, latencies), runtime: newRuntimeMetrics(&m, o, latencies),
	}, nil
}

// bucketsOf are the bounds of the latencies' buckets.
func bucketsOf(c config.Metrics) ([]float64, error) {
	if len(c.LatencyBuckets) == 0 {
		return latencyBuckets, nil
	}
	for i, bound := range c.LatencyBuckets[1:] {
		if bound <= c.LatencyBuckets[i] {
			return nil, &apperr.Error{
				Reason: apperr.OwnConfig,
				What:   fmt.Sprintf("latencyDistributionBuckets: %v follows %v, and each has to be larger than the one before", bound, c.LatencyBuckets[i]),
			}
		}
	}
	return slices.Clone(c.LatencyBuckets), nil
}

// ServeHTTP answers those who scrape, at any path.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// A Reading is a value that somebody else counts.
type Reading struct {
	// Name is behind pillion_. One that ends with _total only grows.
	Name, Help string
	// Label and Value tell one of several readings of a name from the others;
	// empty for none.
	Label, Value string
	Read         func() float64
}

// Watch adds a reading that is taken when somebody scrapes.
func (m *Metrics) Watch(r Reading) error {
	labels := prometheus.Labels{"app_id": m.app}
	if r.Label != "" {
		labels[r.Label] = r.Value
	}
	var c prometheus.Collector
	if strings.HasSuffix(r.Name, "_total") {
		c = prometheus.NewCounterFunc(prometheus.CounterOpts{Name: ownPrefix + r.Name, Help: r.Help, ConstLabels: labels}, r.Read)
	} else {
		c = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: ownPrefix + r.Name, Help: r.Help, ConstLabels: labels}, r.Read)
	}
	return m.registry.Register(c)
}
