package middleware

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/config"
)

const (
	// defaultRate is Dapr's maxRequestsPerSecond.
	defaultRate = 100
	// maxBuckets bounds the clients and paths that are counted apart.
	maxBuckets = 10_000
)

// limits are how often each client may ask for each path.
type limits struct {
	rate  float64 // a second; also how many at once
	clock func() time.Time

	seed maphash.Seed

	mu      sync.Mutex         // guards what follows
	buckets map[uint64]*bucket // by a hash: paths are long
}

// A bucket is one client's for one path.
type bucket struct {
	tokens float64
	filled time.Time
}

func newRateLimit(c config.Component) (Handler, error) {
	l, err := newLimits(c)
	if err != nil {
		return nil, err
	}
	return l.handler, nil
}

func newLimits(c config.Component) (*limits, error) {
	rate := float64(defaultRate)
	if text, given := c.Property("maxRequestsPerSecond"); given {
		var err error
		if rate, err = strconv.ParseFloat(text, 64); err != nil || !(rate > 0) || math.IsInf(rate, 0) {
			return nil, errors.New("metadata property maxRequestsPerSecond must be a positive value")
		}
	}
	return &limits{rate: rate, clock: time.Now, seed: maphash.MakeSeed(), buckets: make(map[uint64]*bucket)}, nil
}

func (l *limits) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left, ok := l.take(client(r) + "|" + r.URL.Path)
		h := w.Header()
		h.Set("X-Rate-Limit-Limit", fmt.Sprintf("%.2f", l.rate))
		h.Set("X-Rate-Limit-Duration", "1")
		h.Set("RateLimit-Limit", strconv.Itoa(int(math.Round(l.rate))))
		h.Set("RateLimit-Reset", "1")
		h.Set("RateLimit-Remaining", strconv.Itoa(left))
		if !ok {
			say(w, http.StatusTooManyRequests, "You have reached maximum request limit.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// take takes a token, if there is one, and says how many are left.
func (l *limits) take(whose string) (left int, ok bool) {
	key := maphash.String(l.seed, whose)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	b := l.buckets[key]
	if b == nil {
		l.makeRoom(now)
		b = &bucket{tokens: l.most(), filled: now}
		l.buckets[key] = b
	}
	b.fill(now, l.rate, l.most())
	if b.tokens < 1 {
		return 0, false
	}
	b.tokens--
	return int(b.tokens), true
}

// most is how many requests may come at once.
func (l *limits) most() float64 { return math.Max(1, math.Floor(l.rate)) }

func (b *bucket) fill(now time.Time, rate, most float64) {
	b.tokens = math.Min(most, b.tokens+rate*now.Sub(b.filled).Seconds())
	b.filled = now
}

// makeRoom forgets those who could ask for as much as a stranger, and if that
// is nobody, everybody.
func (l *limits) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for key, b := range l.buckets {
		if b.fill(now, l.rate, l.most()); b.tokens == l.most() {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}

// client is the address a request is from, as far as one before us says it.
func client(r *http.Request) string {
	if forwarded := r.Header.Get("X-Forwarded-For"); forwarded != "" {
		return strings.TrimSpace(forwarded[strings.LastIndexByte(forwarded, ',')+1:])
	}
	if real := r.Header.Get("X-Real-Ip"); real != "" {
		return real
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}
