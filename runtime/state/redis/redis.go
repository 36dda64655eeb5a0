// Package redis is a state store on a Redis server: Dapr's state.redis, with its
// layout. Nothing is connected before the first call.
package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	client "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/pillion-dev/pillion/runtime/state"
)

var _ state.Store = (*Store)(nil)

// A Store keeps items on a server.
type Store struct {
	cfg Config
	now func() time.Time
	// replicas is how long a strong write waits for them.
	replicas time.Duration

	mu     sync.Mutex // guards what follows
	client *client.Client
	closed bool
	calls  sync.WaitGroup // under way, also after their callers have gone
}

// quiet keeps the client from writing to our standard error.
var quiet = sync.OnceFunc(logging.Disable)

// New returns a store that connects at the first call.
func New(cfg Config) *Store {
	quiet()
	return &Store{cfg: cfg, now: time.Now, replicas: waitForReplicas}
}

var errClosed = errors.New("the store is closed")

// use returns the client; the caller says s.calls.Done when it has done with it.
func (s *Store) use() (*client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.client == nil {
		s.client = client.NewClient(s.cfg.options())
	}
	s.calls.Add(1)
	return s.client, nil
}

// Close ends the connections; operations under way end first, each within its
// own time-outs.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	c := s.client
	s.client = nil
	s.mu.Unlock()
	s.calls.Wait()
	if c == nil {
		return nil
	}
	return s.explain(c.Close())
}

// An attempt is one try at an operation.
type attempt[T any] func(context.Context, *client.Client) (T, error)

// do has an operation carried out, again if that is safe, and returns when ctx
// ends: the client itself looks only at deadlines.
func do[T any](ctx context.Context, s *Store, safe func(error) bool, try attempt[T]) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, s.explain(context.Cause(ctx))
	}
	c, err := s.use()
	if err != nil {
		return none, s.explain(err)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer s.calls.Done()
		value, err := repeat(ctx, s.cfg, safe, func() (T, error) { return try(ctx, c) })
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			r.err = context.Cause(ctx)
		}
		return r.value, s.explain(r.err)
	case <-ctx.Done():
		return none, s.explain(context.Cause(ctx))
	}
}

// repeat tries until it succeeds, what failed may not be done twice, the tries
// are used up, or ctx ends.
func repeat[T any](ctx context.Context, cfg Config, safe func(error) bool, try func() (T, error)) (T, error) {
	wait := cfg.RetryMin
	for n := 0; ; n++ {
		value, err := try()
		if err == nil || n >= cfg.Retries || !safe(err) || !pause(ctx, wait) {
			return value, err
		}
		wait = min(2*wait, cfg.RetryMax)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unsent reports whether an operation never left: the server could not be
// reached.
func unsent(err error) bool {
	dial, isNet := errors.AsType[*net.OpError](err)
	return isNet && dial.Op == "dial"
}

// lost reports whether the connection failed, so that a read may be tried again.
func lost(err error) bool {
	_, isNet := errors.AsType[net.Error](err)
	return isNet || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isLoading(err)
}

// isLoading reports whether the server reads its data from the disk, and takes
// no commands yet.
func isLoading(err error) bool { return client.HasErrorPrefix(err, "LOADING") }

// explain says whose failure it is.
func (s *Store) explain(err error) error {
	if err == nil || errors.Is(err, state.ErrETagMismatch) || errors.Is(err, state.ErrETagInvalid) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the server has closed the connection: %w", err)
	}
	return fmt.Errorf("redis store %s at %s: %w", s.cfg.Name, s.cfg.Host, err)
}

// Ping reports whether the server can be used.
func (s *Store) Ping(ctx context.Context) error {
	_, err := do(ctx, s, lost, func(ctx context.Context, c *client.Client) (string, error) { return c.Ping(ctx).Result() })
	return err
}

// Transact carries out all operations or none. It is sent at most once: after a
// failure in between nobody knows whether it was carried out.
func (s *Store) Transact(ctx context.Context, ops []state.Operation) error {
	if len(ops) == 0 {
		return nil
	}
	keys, args, strong, err := s.words(ops)
	if err != nil {
		return err
	}
	refused, err := do(ctx, s, safeToSend, func(ctx context.Context, c *client.Client) ([]any, error) {
		if strong {
			return runAndWait(ctx, c, keys, args, s.replicas)
		}
		return run(ctx, c, keys, args)
	})
	if err != nil || refused == nil {
		return err
	}
	return condition(ops, refused)
}

// safeToSend reports whether a write that failed has changed nothing.
func safeToSend(err error) bool { return unsent(err) || isLoading(err) }

// words are the script's keys and arguments.
func (s *Store) words(ops []state.Operation) (keys []string, args []any, strong bool, err error) {
	for _, op := range ops {
		key, want, isConditional := op.Condition()
		switch {
		case !isConditional:
			want = whatever
		case want != "":
			if _, err := strconv.Atoi(want); err != nil {
				return nil, nil, false, fmt.Errorf("%w: %w", state.ErrETagInvalid, err)
			}
		}
		keys = append(keys, key)
		if op.Delete != nil {
			args = append(args, wordDelete, want, "", 0)
			strong = strong || op.Delete.Options.Consistency == state.Strong
			continue
		}
		// A copy: the caller may be gone, and with it the value, before it is sent.
		args = append(args, wordSet, want, string(op.Set.Value), s.life(op.Set.TTL).Milliseconds())
		strong = strong || op.Set.Options.Consistency == state.Strong
	}
	return keys, args, strong, nil
}

// life is how long an item lives, 0 for ever.
func (s *Store) life(ttl time.Duration) time.Duration {
	switch {
	case ttl == 0:
		return s.cfg.TTL
	case ttl < 0:
		return 0
	}
	return ttl
}

// run has the script run, and returns what it says. The server is asked for one
// that it knows first: that it does not means that nothing was done.
func run(ctx context.Context, c *client.Client, keys []string, args []any) ([]any, error) {
	said, err := transaction.EvalSha(ctx, c, keys, args...).Slice()
	if client.HasErrorPrefix(err, "NOSCRIPT") {
		said, err = transaction.Eval(ctx, c, keys, args...).Slice()
	}
	if errors.Is(err, client.Nil) {
		return nil, nil
	}
	return said, err
}

// waitForReplicas bounds the wait for what strong consistency asks for.
const waitForReplicas = time.Second

// runAndWait waits until the replicas have the write, too, as Dapr does: for a
// second, and without a word if some have it later.
func runAndWait(ctx context.Context, c *client.Client, keys []string, args []any, wait time.Duration) ([]any, error) {
	replicas, err := connectedReplicas(ctx, c)
	if err != nil {
		return nil, err
	}
	pipe := c.Pipeline() // WAIT is about the connection's own writes
	said := transaction.Eval(ctx, pipe, keys, args...)
	if replicas > 0 {
		pipe.Do(ctx, "WAIT", replicas, wait.Milliseconds())
	}
	_, err = pipe.Exec(ctx)
	if errors.Is(err, client.Nil) {
		err = nil
	}
	if err != nil || errors.Is(said.Err(), client.Nil) {
		return nil, err
	}
	return said.Slice()
}

// condition is the error of the operation whose condition does not hold.
func condition(ops []state.Operation, refused []any) error {
	if len(refused) == 2 {
		number, isNumber := refused[0].(int64)
		have, isText := refused[1].(string)
		if isNumber && isText && number >= 1 && int(number) <= len(ops) {
			key, want, _ := ops[number-1].Condition()
			return state.CheckETag(key, want, have)
		}
	}
	return fmt.Errorf("the script's answer makes no sense: %v", refused)
}
