package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
}

// A Block is the state building block of one sidecar: its stores by name, and
// what both doors do with them. Every error it returns is a *daprerr.Error. It
// is safe for concurrent use.
type Block struct {
	cfg Config

	mu     sync.RWMutex // guards what follows
	stores map[string]*mounted
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
	return &Block{cfg: cfg}
}

// Mount adds a store, or puts it in the place of the one of its name: calls
// under way finish on that, and it is closed once they have. If the component is
// refused, its store is closed and nothing has changed.
func (b *Block) Mount(c Component) error {
	prefix, err := keyPrefix(c, b.cfg)
	if err != nil {
		return errors.Join(err, c.Store.Close())
	}
	b.mu.Lock()
	old := b.stores[c.Name]
	stores := maps.Clone(b.stores)
	if stores == nil {
		stores = map[string]*mounted{}
	}
	stores[c.Name] = &mounted{Component: c, prefix: prefix}
	b.stores = stores
	b.mu.Unlock()
	return old.retire()
}

// Unmount takes a store away: calls under way finish, then it is closed. A name
// that is not there is no failure.
func (b *Block) Unmount(name string) error {
	b.mu.Lock()
	old := b.stores[name]
	stores := maps.Clone(b.stores)
	delete(stores, name)
	b.stores = stores
	b.mu.Unlock()
	return old.retire()
}

// Close takes every store away.
func (b *Block) Close() error {
	var errs []error
	for _, c := range b.Stores() {
		errs = append(errs, b.Unmount(c.Name))
	}
	return errors.Join(errs...)
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

// retire closes a store that is no longer in the block, once nobody uses it.
func (m *mounted) retire() error {
	if m == nil {
		return nil
	}
	m.calls.Wait()
	if err := m.Store.Close(); err != nil {
		return fmt.Errorf("close state store %s: %w", m.Name, err)
	}
	return nil
}
