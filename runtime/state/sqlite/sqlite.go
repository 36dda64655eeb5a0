// Package sqlite is a state store in one file that several processes share:
// Dapr's state.sqlite. Nothing is opened before the first call.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pillion-dev/pillion/runtime/state"
)

var _ state.Store = (*Store)(nil)

// A Store keeps items in a table of a file.
type Store struct {
	cfg Config
	// network says whether a file is on a network file system, and on which.
	network func(path string) (string, bool)

	opening chan struct{} // holds a token; whoever has it may open

	mu     sync.RWMutex // guards what follows
	file   *file
	closed bool
}

// New returns a store that opens its file at the first call.
func New(cfg Config) *Store {
	s := &Store{cfg: cfg.withDefaults(), network: networkFS, opening: make(chan struct{}, 1)}
	s.opening <- struct{}{}
	return s
}

var errClosed = errors.New("the store is closed")

// begin bounds an operation and returns the file. end is to be called after it.
func (s *Store) begin(ctx context.Context) (f *file, bounded context.Context, end context.CancelFunc, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout,
		fmt.Errorf("no answer within %v", s.cfg.Timeout))
	f, err = s.opened(ctx)
	if err != nil {
		err = s.explain(ctx, err) // before cancel, which would be the reason
		cancel()
		return nil, nil, nil, err
	}
	return f, ctx, cancel, nil
}

// opened returns the open file. One that could not be opened is tried again by
// the next call: what was in the way may be gone.
func (s *Store) opened(ctx context.Context) (*file, error) {
	if f, err := s.current(); f != nil || err != nil {
		return f, err
	}
	select {
	case <-s.opening:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { s.opening <- struct{}{} }()
	if f, err := s.current(); f != nil || err != nil {
		return f, err
	}
	f, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(errClosed, f.close())
	}
	s.file = f
	return f, nil
}

func (s *Store) current() (*file, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, errClosed
	}
	return s.file, nil
}

// Ping reports whether the file can be used; it opens it.
func (s *Store) Ping(ctx context.Context) error {
	_, _, end, err := s.begin(ctx)
	if err == nil {
		end()
	}
	return err
}

// Get returns the item under r.Key.
func (s *Store) Get(ctx context.Context, r state.Get) (state.Item, error) {
	f, ctx, end, err := s.begin(ctx)
	if err != nil {
		return state.Item{}, err
	}
	defer end()
	item, err := f.get(ctx, r.Key, s.cfg.Now())
	return item, s.explain(ctx, err)
}

// BulkGet returns the items of one moment.
func (s *Store) BulkGet(ctx context.Context, r []state.Get) ([]state.BulkItem, error) {
	f, ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	items, err := f.bulkGet(ctx, r, s.cfg.Now())
	return items, s.explain(ctx, err)
}

// Transact carries out all operations or none. What it returned without an
// error for is on the disk.
func (s *Store) Transact(ctx context.Context, ops []state.Operation) error {
	f, ctx, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return s.explain(ctx, f.transact(ctx, ops))
}

// Close closes the file; operations under way end first.
func (s *Store) Close() error {
	s.mu.Lock()
	f := s.file
	s.file, s.closed = nil, true
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := f.close(); err != nil {
		return fmt.Errorf("sqlite %s: %w", s.cfg.Path, err)
	}
	return nil
}
