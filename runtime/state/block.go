package state

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// Capabilities of every store here, as Dapr's metadata names them. ACTOR is
// what Dapr adds for a store with the first two.
func capabilities() []string { return []string{"ETAG", "TRANSACTIONAL", "TTL", "ACTOR"} }

// A Component is a store and how the app knows it.
type Component struct {
	Name, Type, Version string
	// KeyPrefix is the metadata of that name, as it was written: appid (or ""),
	// namespace, name, none, or what stands before the keys literally.
	KeyPrefix string
	// MaxOperations bounds a transaction; 0: only the request's size does.
	MaxOperations int
	Store         Store
}

// An Info is what is told about a store.
type Info struct {
	Name, Type, Version string
	Capabilities        []string
}

// Around is called for every operation on a store, of all kinds, and calls do:
// once, or as often as a policy says. It is where policies and measurements of
// a component belong. Conditions that do not hold (ErrETagMismatch,
// ErrETagInvalid) are no failures of the store: trying again does not help.
type Around func(ctx context.Context, c Call, do func(context.Context) error) error

// A Call is one operation on a store, as Dapr's metrics name it: get, bulk_get,
// set, delete, bulk_delete, transaction.
type Call struct{ Store, Operation string }

// Config is what a Block is made from.
type Config struct {
	// App and Namespace are whose state it is. Without a namespace keys that
	// would begin with it begin with the app.
	App, Namespace string
	// Around wraps every operation. Nil: nothing does.
	Around Around
	// Logger is told of stores that could not be closed. Nil: nobody is.
	Logger *slog.Logger
}

// A Block is the state building block of one sidecar: its stores by name, and
// what both doors do with them. Every error it returns is a *daprerr.Error. It
// is safe for concurrent use.
type Block struct {
	cfg Config

	mu     sync.RWMutex // guards what follows
	stores map[string]*mounted

	leaving sync.WaitGroup // stores that are no longer in stores, until they are closed
}

// mounted is a store in use.
type mounted struct {
	Component
	prefix string
	calls  sync.WaitGroup // under way; counted up only while it is in the block
}

// New returns a Block without stores.
func New(cfg Config) *Block {
	if cfg.Around == nil {
		cfg.Around = func(ctx context.Context, _ Call, do func(context.Context) error) error { return do(ctx) }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Block{cfg: cfg}
}

// Mount adds a store, or puts it in the place of the one of its name: calls
// under way finish on that, and it is closed once they have, which is not waited
// for. If the component is refused, nothing has changed, and its store is not
// closed.
func (b *Block) Mount(c Component) error {
	prefix, err := keyPrefix(c, b.cfg)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stores == nil {
		b.stores = map[string]*mounted{}
	}
	b.retire(b.stores[c.Name])
	b.stores[c.Name] = &mounted{Component: c, prefix: prefix}
	return nil
}

// Unmount takes a store away: calls under way finish, then it is closed, which
// is not waited for. A name that is not there is no failure.
func (b *Block) Unmount(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retire(b.stores[name])
	delete(b.stores, name)
}

// Close takes every store away, and waits until they are closed, or ctx ends.
func (b *Block) Close(ctx context.Context) error {
	for _, c := range b.Stores() {
		b.Unmount(c.Name)
	}
	closed := make(chan struct{})
	go func() {
		b.leaving.Wait()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("state stores are still in use: %w", context.Cause(ctx))
	}
}

// Stores are the stores, by name.
func (b *Block) Stores() []Info {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := make([]Info, 0, len(b.stores))
	for _, m := range b.stores {
		all = append(all, Info{Name: m.Name, Type: m.Type, Version: m.Version, Capabilities: capabilities()})
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// use returns the store of a name; the caller says m.calls.Done when it has
// done with it.
func (b *Block) use(name string) (*mounted, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	m := b.stores[name]
	switch {
	case m != nil:
		m.calls.Add(1)
		return m, nil
	case len(b.stores) == 0:
		return nil, notConfigured(name, b.cfg.App)
	default:
		return nil, notFound(name, b.cfg.App)
	}
}

// retire closes a store that leaves the block, once nobody uses it. b.mu is held,
// so that nobody begins to.
func (b *Block) retire(m *mounted) {
	if m == nil {
		return
	}
	b.leaving.Go(func() {
		m.calls.Wait()
		if err := m.Store.Close(); err != nil {
			b.cfg.Logger.Warn("state store not closed", "store", m.Name, "err", err)
		}
	})
}
