// Package grpcload is a load generator for unary gRPC calls that costs little
// itself: it writes HTTP/2 frames by hand, on one goroutine a connection, and
// keeps the latency of every call.
package grpcload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Load is what to send.
type Load struct {
	// Address is the server's, Path the method's as /service/method.
	Address, Path string
	// Metadata is sent with each call.
	Metadata map[string]string `json:",omitempty"`
	// Message is the length of each call's message.
	Message int
	// Connections are open at once, each with Streams calls under way.
	Connections, Streams int
	// Duration is how long to send, once all connections are there.
	Duration time.Duration
}

// A Result is what came of it.
type Result struct {
	// Calls ended well while the load ran, which took Elapsed. Those still
	// under way at its end are not counted.
	Calls   int
	Elapsed time.Duration
	// Failed calls ended otherwise; Cause is the first one's.
	Failed int
	Cause  string `json:",omitempty"`
	// Of the latencies of Calls.
	P50, P90, P99 time.Duration
}

// maxLost is how many lost connections a load goes on after.
const maxLost = 100

// Run sends the load and waits for its end. The error is of a load that could
// not begin.
func Run(ctx context.Context, l Load) (Result, error) {
	if l.Connections < 1 || l.Streams < 1 || l.Message < 0 || l.Duration <= 0 {
		return Result{}, errors.New("a load needs connections, streams and a duration")
	}
	sessions, err := connect(ctx, l)
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	deadline := began.Add(l.Duration)
	stop := context.AfterFunc(ctx, func() {
		for _, s := range sessions {
			_ = s.conn.Close() // ends its reading
		}
	})
	defer stop()
	tallies := make([]tally, l.Connections)
	var sending sync.WaitGroup
	for i, s := range sessions {
		sending.Go(func() { tallies[i].send(ctx, s, deadline) })
	}
	sending.Wait()
	return total(tallies, time.Since(began)), context.Cause(ctx)
}

// connect opens all connections at once.
func connect(ctx context.Context, l Load) ([]*session, error) {
	sessions, errs := make([]*session, l.Connections), make([]error, l.Connections)
	var dialling sync.WaitGroup
	for i := range sessions {
		dialling.Go(func() { sessions[i], errs[i] = dial(ctx, l) })
	}
	dialling.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, s := range sessions {
			if s != nil {
				_ = s.conn.Close() // it was not used
			}
		}
		return nil, fmt.Errorf("%s: %w", l.Address, slices.DeleteFunc(errs, func(e error) bool { return e == nil })[0])
	}
	return sessions, nil
}

// A tally counts one connection's calls.
type tally struct {
	latencies []time.Duration
	failed    int
	cause     string
}

// send runs s, and connections that replace it, until deadline.
func (t *tally) send(ctx context.Context, s *session, deadline time.Time) {
	for range maxLost {
		err := s.run(deadline, t)
		_ = s.conn.Close() // its end was noted
		if err == nil || ctx.Err() != nil || !time.Now().Before(deadline) {
			return
		}
		t.fail(len(s.calls), err.Error())
		if s, err = dial(ctx, s.load); err != nil {
			t.fail(1, err.Error())
			return
		}
	}
}

func (t *tally) fail(calls int, cause string) {
	t.failed += calls
	if t.cause == "" && calls > 0 {
		t.cause = cause
	}
}

func total(tallies []tally, elapsed time.Duration) Result {
	var all []time.Duration
	r := Result{Elapsed: elapsed}
	for _, t := range tallies {
		all = append(all, t.latencies...)
		r.Failed += t.failed
		if r.Cause == "" {
			r.Cause = t.cause
		}
	}
	slices.Sort(all)
	r.Calls = len(all)
	r.P50, r.P90, r.P99 = quantile(all, 50), quantile(all, 90), quantile(all, 99)
	return r
}

// quantile is the smallest of sorted that percent of them do not exceed.
func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}

// ParseResult reads what a Result marshalled to.
func ParseResult(text []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return Result{}, fmt.Errorf("the load generator's result: %w", err)
	}
	return r, nil
}
