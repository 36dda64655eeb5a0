package resiliency

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/config"
)

// Dapr's defaults.
const (
	retryDuration    = 5 * time.Second
	retryMaxInterval = time.Minute
	retryInitial     = 500 * time.Millisecond
	retryMaxElapsed  = 15 * time.Minute
	retryMultiplier  = 1.5
	retryJitter      = 0.5
	breakerTimeout   = time.Minute
	breakerRequests  = 1
	cacheSize        = 100
)

// A retry is a policy of retries.
type retry struct {
	resource    string
	exponential bool
	duration    time.Duration // between two attempts, if they are constant
	maxInterval time.Duration
	max         int   // of retries; -1: no end
	http, grpc  codes // what is repeated; nil: every failure
}

// named are the policies by their names.
type named struct {
	timeouts map[string]*Timeout
	retries  map[string]*retry
	breakers map[string]*breaker
	refused  map[string]bool // kind and name of those that cannot be used

	mu         sync.Mutex           // guards what follows
	components map[string]*breakers // of components that are no target
}

func newNamed() *named {
	return &named{
		timeouts: map[string]*Timeout{}, retries: map[string]*retry{}, breakers: map[string]*breaker{},
		refused: map[string]bool{}, components: map[string]*breakers{},
	}
}

// ofComponent is the breaker of a component. There are as many as components.
func (n *named) ofComponent(name string, b *breaker) *breakers {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.components[name] == nil {
		n.components[name] = newBreakers(b, 1)
	}
	return n.components[name]
}

// defaults are the default policies: of each kind the first that is there of
// those which the prefixes begin.
func (n *named) defaults(prefixes ...string) config.TargetPolicies {
	var t config.TargetPolicies
	for _, prefix := range prefixes {
		if name := prefix + "TimeoutPolicy"; t.Timeout == "" && n.timeouts[name] != nil {
			t.Timeout = name
		}
		if name := prefix + "RetryPolicy"; t.Retry == "" && n.retries[name] != nil {
			t.Retry = name
		}
		if name := prefix + "CircuitBreakerPolicy"; t.CircuitBreaker == "" && n.breakers[name] != nil {
			t.CircuitBreaker = name
		}
	}
	return t
}

// read takes the policies of one resource, and says what is wrong with those it
// cannot take.
func (n *named) read(r config.Resiliency) []string {
	var doubts []string
	refuse := func(kind, name, at string, err error) {
		n.refused[kind+" "+name] = true
		doubts = append(doubts, fmt.Sprintf("Could not read resiliency policy %s: %s: %s: %v", name, at, kind, err))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Policies.Timeouts)) {
		given := r.Policies.Timeouts[name]
		after, err := duration(given.Value, 0)
		if err == nil && after == 0 {
			err = errors.New("0 is no time-out")
		}
		if err != nil {
			refuse("timeout", name, given.At, err)
			continue
		}
		n.timeouts[name] = &Timeout{After: after, Name: name, At: given.At, resource: r.Name}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Policies.Retries)) {
		given := r.Policies.Retries[name]
		p, doubt, err := newRetry(given)
		if err != nil {
			refuse("retry", name, given.At, err)
			continue
		}
		if doubt != "" {
			doubts = append(doubts, fmt.Sprintf("%s: the retry policy %s: %s", given.At, name, doubt))
		}
		p.resource = r.Name
		n.retries[name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(r.Policies.CircuitBreakers)) {
		given := r.Policies.CircuitBreakers[name]
		p, err := newBreaker(given)
		if err != nil {
			refuse("circuitBreaker", name, given.At, err)
			continue
		}
		p.resource, p.name, p.at = r.Name, name, given.At
		n.breakers[name] = p
	}
	return doubts
}

// newRetry reads a policy of retries. doubt is what contradicts itself in one
// that can be used.
func newRetry(given config.Retry) (p *retry, doubt string, err error) {
	p = &retry{max: -1}
	switch strings.ToLower(given.Policy) {
	case "", "constant":
	case "exponential":
		p.exponential = true
	default:
		return nil, "", fmt.Errorf("policy %q is neither constant nor exponential", given.Policy)
	}
	if given.MaxRetries != nil {
		p.max = *given.MaxRetries
	}
	if p.max < -1 {
		return nil, "", fmt.Errorf("maxRetries is %d: -1 is without end, 0 is none", p.max)
	}
	var errs [4]error
	p.duration, errs[0] = duration(given.Duration, retryDuration)
	p.maxInterval, errs[1] = duration(given.MaxInterval, retryMaxInterval)
	p.http, errs[2] = readCodes(given.HTTPStatusCodes, 100, 599)
	p.grpc, errs[3] = readCodes(given.GRPCStatusCodes, 0, 16)
	for i, field := range []string{"duration", "maxInterval", "matching.httpStatusCodes", "matching.gRPCStatusCodes"} {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s: %w", field, errs[i])
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, "", errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	switch {
	case p.exponential && given.Duration != "":
		doubt = "duration has no effect on an exponential one, maxInterval has"
	case !p.exponential && given.MaxInterval != "":
		doubt = "maxInterval has no effect on a constant one, duration has"
	case p.exponential && p.maxInterval < retryInitial:
		doubt = fmt.Sprintf("maxInterval is below the first interval of %v, which is shortened", retryInitial)
	}
	return p, doubt, nil
}

// duration reads a time as Dapr does: a bare number is milliseconds.
func duration(text string, unsaid time.Duration) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return unsaid, nil
	}
	var d time.Duration
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n > math.MaxInt64/int64(time.Millisecond) {
			return 0, fmt.Errorf("%q is too long", text)
		}
		d = time.Duration(n) * time.Millisecond
	} else if d, err = time.ParseDuration(text); err != nil {
		return 0, fmt.Errorf("%q is not a time such as 500ms, 5s or 1m", text)
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative", text)
	}
	return d, nil
}

// codes are numbers and ranges of them. Nil are all.
type codes [][2]int

func (c codes) has(code int) bool {
	return c == nil || slices.ContainsFunc(c, func(r [2]int) bool { return r[0] <= code && code <= r[1] })
}

// readCodes reads a list such as 429,500-599 of numbers from least to most.
func readCodes(text string, least, most int) (codes, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var out codes
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(strings.TrimSpace(from))
		last := first
		if err == nil && ranged {
			last, err = strconv.Atoi(strings.TrimSpace(to))
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a code or a range such as 500-599", strings.TrimSpace(part))
		}
		if first > last || first < least || last > most {
			return nil, fmt.Errorf("%q is not within %d-%d", strings.TrimSpace(part), least, most)
		}
		out = append(out, [2]int{first, last})
	}
	return out, nil
}
