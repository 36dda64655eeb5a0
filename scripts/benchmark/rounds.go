package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A sample is what one round of one subject gave. Times are microseconds, CPU
// is per call.
type sample struct {
	Rate          float64 // calls a second
	P50, P90, P99 float64
	ProxyCPU      float64
	AppCPU        float64
	LoadCPU       float64
	Memory        memory // of the proxies, under load
	Calls, Failed int
}

// A series is the rounds of one subject.
type series struct {
	Subject string
	Samples []sample
}

// A result is a scenario measured.
type result struct {
	Scenario scenario
	Series   []series
}

// warmUp is sent before the first round of a scenario. With many connections it
// is sent before each round: a proxy closes those that were idle while others
// were measured, and handshakes are not what a round is about.
const (
	warmUp          = time.Second
	manyConnections = 128
)

// measure runs rounds of a scenario, one subject after the other in each, so
// that what changes on the machine meanwhile meets all of them.
func (b *bench) measure(ctx context.Context, s scenario, subjects []*subject, rounds int) (result, error) {
	r := result{Scenario: s, Series: make([]series, len(subjects))}
	for i, to := range subjects {
		r.Series[i].Subject = to.name
	}
	for _, to := range subjects {
		if err := b.warm(ctx, to, s); err != nil {
			return r, err
		}
	}
	for range rounds {
		for i, to := range subjects {
			one, err := b.round(ctx, to, s)
			if err != nil {
				return r, err
			}
			r.Series[i].Samples = append(r.Series[i].Samples, one)
		}
	}
	return r, nil
}

func (b *bench) warm(ctx context.Context, to *subject, s scenario) error {
	_, err := b.load(ctx, to, s, warmUp)
	return err
}

// roundOf is how long a round is: longer where the load generator takes its
// time to open all connections, which is not what is to be measured.
func (b *bench) roundOf(s scenario) time.Duration {
	if s.Connections >= 512 && !b.o.quick {
		return 3 * b.o.duration
	}
	return b.o.duration
}

// round measures one subject once.
func (b *bench) round(ctx context.Context, to *subject, s scenario) (sample, error) {
	if s.Connections >= manyConnections && !b.o.quick {
		if err := b.warm(ctx, to, s); err != nil {
			return sample{}, err
		}
	}
	proxies, apps, err := to.pids()
	if err != nil {
		return sample{}, err
	}
	long := b.roundOf(s)
	proxyCPU, appCPU := cpuOf(proxies), cpuOf(apps)
	var held memory
	var watching sync.WaitGroup
	late := make(chan struct{})
	watching.Go(func() {
		select {
		case <-time.After(long * 3 / 4):
			held = memoryOf(proxies)
		case <-late:
		}
	})
	o, err := b.load(ctx, to, s, long)
	close(late)
	watching.Wait()
	if err != nil {
		return sample{}, err
	}
	perCall := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(o.calls) }
	return sample{
		Rate: float64(o.calls) / o.elapsed.Seconds(),
		P50:  micros(o.p50), P90: micros(o.p90), P99: micros(o.p99),
		ProxyCPU: perCall(cpuOf(proxies) - proxyCPU), AppCPU: perCall(cpuOf(apps) - appCPU), LoadCPU: perCall(o.cpu),
		Memory: held, Calls: o.calls, Failed: o.failed,
	}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// Fields of a sample, for the tables.
func rate(s sample) float64     { return s.Rate }
func p50(s sample) float64      { return s.P50 }
func p90(s sample) float64      { return s.P90 }
func p99(s sample) float64      { return s.P99 }
func proxyCPU(s sample) float64 { return s.ProxyCPU }
func appCPU(s sample) float64   { return s.AppCPU }
func loadCPU(s sample) float64  { return s.LoadCPU }
func resident(s sample) float64 { return float64(s.Memory.Resident) / (1 << 20) }

// values are one field of each round.
func (s series) values(field func(sample) float64) []float64 {
	out := make([]float64, len(s.Samples))
	for i, one := range s.Samples {
		out[i] = field(one)
	}
	return out
}

func (s series) figure(field func(sample) float64) figure { return summarize(s.values(field)) }

func (s series) failed() int {
	n := 0
	for _, one := range s.Samples {
		n += one.Failed
	}
	return n
}

// of is the series of a subject; an empty one if it was not measured.
func (r result) of(name string) series {
	i := slices.IndexFunc(r.Series, func(s series) bool { return s.Subject == name })
	if i < 0 {
		return series{Subject: name}
	}
	return r.Series[i]
}

// ratio is a field of one subject over another's, round by round.
func (r result) ratio(name, base string, field func(sample) float64) figure {
	return ratios(r.of(name).values(field), r.of(base).values(field))
}
