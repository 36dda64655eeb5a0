package resiliency

import (
	"container/list"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/sony/gobreaker/v2"

	"github.com/pillion-dev/pillion/runtime/config"
)

// What a circuit breaker says instead of letting an attempt pass, in Dapr's
// words.
var (
	ErrOpen    = errors.New("circuit breaker is open")
	ErrTooMany = errors.New("too many requests")
)

// errIgnored ends an attempt that says nothing about the target.
var errIgnored = errors.New("ignored")

// counts are what a trip expression sees.
type counts struct{ requests, successes, failures, successesInRow, failuresInRow uint32 }

// A breaker is a policy of circuit breakers.
type breaker struct {
	resource          string
	name, at          string
	maxRequests       uint32
	interval, timeout time.Duration
	text              string // of trip
	trip              func(counts) bool
}

// said is the policy as it can be compared.
func (b *breaker) said() any {
	return [...]any{b.resource, b.name, b.maxRequests, b.interval, b.timeout, b.text}
}

func newBreaker(given config.CircuitBreaker) (*breaker, error) {
	b := &breaker{maxRequests: breakerRequests, text: strings.TrimSpace(given.Trip)}
	if given.MaxRequests < 0 || given.MaxRequests > math.MaxInt32 {
		return nil, fmt.Errorf("maxRequests is %d", given.MaxRequests)
	}
	if given.MaxRequests > 0 {
		b.maxRequests = uint32(given.MaxRequests)
	}
	var err error
	if b.interval, err = duration(given.Interval, 0); err != nil {
		return nil, fmt.Errorf("interval: %w", err)
	}
	if b.timeout, err = duration(given.Timeout, breakerTimeout); err != nil {
		return nil, fmt.Errorf("timeout: %w", err)
	}
	if b.timeout == 0 {
		b.timeout = breakerTimeout
	}
	b.trip = func(c counts) bool { return c.failuresInRow > 5 }
	if b.text != "" {
		if b.trip, err = compile(b.text); err != nil {
			return nil, fmt.Errorf("trip: %w", err)
		}
	}
	return b, nil
}

// The names that a trip expression knows.
const (
	celRequests       = "requests"
	celSuccesses      = "totalSuccesses"
	celFailures       = "totalFailures"
	celSuccessesInRow = "consecutiveSuccesses"
	celFailuresInRow  = "consecutiveFailures"
)

// compile makes a function of a trip expression. One that cannot be computed
// with the counts there are does not trip.
func compile(text string) (func(counts) bool, error) {
	env, err := cel.NewEnv(
		cel.Variable(celRequests, cel.IntType), cel.Variable(celSuccesses, cel.IntType), cel.Variable(celFailures, cel.IntType),
		cel.Variable(celSuccessesInRow, cel.IntType), cel.Variable(celFailuresInRow, cel.IntType),
	)
	if err != nil {
		return nil, err
	}
	tree, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("%q: %s", text, first)
	}
	if !tree.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("%q is %s, not true or false", text, tree.OutputType())
	}
	program, err := env.Program(tree)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return func(c counts) bool {
		value, _, err := program.Eval(map[string]any{
			celRequests: int64(c.requests), celSuccesses: int64(c.successes), celFailures: int64(c.failures),
			celSuccessesInRow: int64(c.successesInRow), celFailuresInRow: int64(c.failuresInRow),
		})
		if err != nil {
			return false
		}
		trips, is := value.Value().(bool)
		return is && trips
	}, nil
}

// breakers are the circuit breakers of one target by what is called, as many as
// fit: the one that was not asked for longest is forgotten.
type breakers struct {
	policy *breaker
	size   int

	mu     sync.Mutex // guards what follows
	byName map[string]*list.Element
	recent list.List // of *circuit, the latest first
}

// A circuit is one circuit breaker.
type circuit struct {
	name string
	gate *gobreaker.TwoStepCircuitBreaker[struct{}]
}

func newBreakers(b *breaker, size int) *breakers {
	return &breakers{policy: b, size: size, byName: map[string]*list.Element{}}
}

// of is the breaker called name. changed is told when it changes its state.
func (b *breakers) of(name string, changed func(name, from, to string)) *circuit {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, is := b.byName[name]; is {
		b.recent.MoveToFront(at)
		c, _ := at.Value.(*circuit)
		return c
	}
	c := &circuit{name: name, gate: b.policy.gate(name, changed)}
	b.byName[name] = b.recent.PushFront(c)
	if b.recent.Len() > b.size {
		if last, is := b.recent.Remove(b.recent.Back()).(*circuit); is {
			delete(b.byName, last.name)
		}
	}
	return c
}

func (b *breaker) gate(name string, changed func(name, from, to string)) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: b.maxRequests, Interval: b.interval, Timeout: b.timeout,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.trip(counts{c.Requests, c.TotalSuccesses, c.TotalFailures, c.ConsecutiveSuccesses, c.ConsecutiveFailures})
		},
		OnStateChange: func(name string, from, to gobreaker.State) { changed(name, from.String(), to.String()) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errIgnored) },
	})
}

// allow lets an attempt pass, or says why not.
func (c *circuit) allow() (func(error), error) {
	done, err := c.gate.Allow()
	switch {
	case err == nil:
		return done, nil
	case errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil, ErrTooMany
	default:
		return nil, ErrOpen
	}
}
