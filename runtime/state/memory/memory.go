// Package memory is a state store that lives as long as its process: Dapr's
// state.in-memory.
package memory

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/state"
)

// sweepEvery is how often a write looks for items that have expired.
const sweepEvery = time.Minute

var _ state.Store = (*Store)(nil)

// A Store keeps items in memory.
type Store struct {
	now func() time.Time

	mu    sync.RWMutex // guards what follows
	items map[string]item
	last  uint64    // the last ETag given out
	swept time.Time // when expired items were last looked for
}

type item struct {
	value   []byte
	etag    string
	expires time.Time // zero: never
}

// New returns an empty store. It reads the time from now; nil: the clock.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now, items: map[string]item{}}
}

// Get returns the item under r.Key.
func (s *Store) Get(ctx context.Context, r state.Get) (state.Item, error) {
	if ctx.Err() != nil {
		return state.Item{}, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.get(r.Key, s.now()), nil
}

// BulkGet returns the items of one moment.
func (s *Store) BulkGet(ctx context.Context, r []state.Get) ([]state.BulkItem, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.now()
	all := make([]state.BulkItem, len(r))
	for i := range r {
		all[i] = state.BulkItem{Key: r[i].Key, Item: s.get(r[i].Key, now)}
	}
	return all, nil
}

func (s *Store) get(key string, now time.Time) state.Item {
	it, isThere := s.live(key, now)
	if !isThere {
		return state.Item{}
	}
	got := state.Item{Value: it.value, ETag: it.etag}
	if !it.expires.IsZero() {
		got.Metadata = map[string]string{state.MetadataTTLExpireTime: it.expires.UTC().Format(time.RFC3339)}
	}
	return got
}

// live returns what is under key, unless it has expired.
func (s *Store) live(key string, now time.Time) (item, bool) {
	it, isThere := s.items[key]
	return it, isThere && !it.expired(now)
}

func (it item) expired(now time.Time) bool { return !it.expires.IsZero() && !now.Before(it.expires) }

// Transact carries out all operations or none.
func (s *Store) Transact(ctx context.Context, ops []state.Operation) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	before := make(map[string]*item, len(ops)) // what to put back
	for _, op := range ops {
		if err := s.apply(op, now, before); err != nil {
			s.restore(before)
			return err
		}
	}
	s.sweep(now)
	return nil
}

func (s *Store) apply(op state.Operation, now time.Time, before map[string]*item) error {
	if key, want, isConditional := op.Condition(); isConditional {
		have := ""
		if it, isThere := s.live(key, now); isThere {
			have = it.etag
		}
		if err := state.CheckETag(key, want, have); err != nil {
			return err
		}
	}
	if op.Delete != nil {
		s.remember(op.Delete.Key, before)
		delete(s.items, op.Delete.Key)
		return nil
	}
	s.remember(op.Set.Key, before)
	s.last++
	it := item{value: bytes.Clone(op.Set.Value), etag: strconv.FormatUint(s.last, 10)}
	if op.Set.TTL > 0 {
		it.expires = now.Add(op.Set.TTL)
	}
	s.items[op.Set.Key] = it
	return nil
}

func (s *Store) remember(key string, before map[string]*item) {
	if _, isKnown := before[key]; isKnown {
		return
	}
	before[key] = nil
	if it, isThere := s.items[key]; isThere {
		before[key] = &it
	}
}

func (s *Store) restore(before map[string]*item) {
	for key, it := range before {
		if it == nil {
			delete(s.items, key)
		} else {
			s.items[key] = *it
		}
	}
}

func (s *Store) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for key, it := range s.items {
		if it.expired(now) {
			delete(s.items, key)
		}
	}
}

// Close forgets everything.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = map[string]item{}
	return nil
}
