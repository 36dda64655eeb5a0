package state

import (
	"context"
)

// Names of operations, as Dapr's metrics have them.
const (
	opGet         = "get"
	opBulkGet     = "bulk_get"
	opSet         = "set"
	opDelete      = "delete"
	opBulkDelete  = "bulk_delete"
	opTransaction = "transaction"
)

// Get returns the item under r.Key; the zero Item if there is none.
func (b *Block) Get(ctx context.Context, store string, r Get) (Item, error) {
	m, err := b.use(store)
	if err != nil {
		return Item{}, err
	}
	defer m.calls.Done()
	key := r.Key
	if r.Key, err = m.stored(key); err != nil {
		return Item{}, err
	}
	var item Item
	err = b.cfg.Around(ctx, Call{store, opGet}, func(ctx context.Context) (err error) {
		item, err = m.Store.Get(ctx, r)
		return err
	})
	if err != nil {
		return Item{}, failed(codeGet, err, "fail to get %s from state store %s: %s", key, store)
	}
	return item, nil
}

// A BulkGet asks for many keys at once. Dapr's parallelism has no meaning here:
// every store reads them in one go.
type BulkGet struct {
	Keys     []string
	Metadata map[string]string
}

// BulkGet returns an answer for each key, in their order and under the name the
// app knows it by. A key that is not there has no ETag.
func (b *Block) BulkGet(ctx context.Context, store string, r BulkGet) ([]BulkItem, error) {
	m, err := b.use(store)
	if err != nil {
		return nil, err
	}
	defer m.calls.Done()
	if len(r.Keys) == 0 {
		return nil, nil
	}
	gets := make([]Get, len(r.Keys))
	for i, key := range r.Keys {
		gets[i].Metadata = r.Metadata
		if gets[i].Key, err = m.stored(key); err != nil {
			return nil, err
		}
	}
	var items []BulkItem
	err = b.cfg.Around(ctx, Call{store, opBulkGet}, func(ctx context.Context) (err error) {
		items, err = m.Store.BulkGet(ctx, gets)
		return err
	})
	if err != nil {
		return nil, bulkGetFailed(err)
	}
	for i := range items {
		items[i].Key = r.Keys[i]
	}
	return items, nil
}

// Save saves all items or none.
func (b *Block) Save(ctx context.Context, store string, items []Set) error {
	m, err := b.use(store)
	if err != nil {
		return err
	}
	defer m.calls.Done()
	ops := make([]Operation, 0, len(items))
	for i := range items {
		item := items[i]
		if item.Key == "" {
			return emptyKey()
		}
		if err := checkJSON(item); err != nil {
			return err
		}
		if item.Key, err = m.stored(item.Key); err != nil {
			return err
		}
		ops = append(ops, Operation{Set: &item})
	}
	if err := b.transact(ctx, m, opSet, ops); err != nil {
		return failed(codeSave, err, "failed saving state in state store %s: %s", store)
	}
	return nil
}

// Delete removes one key.
func (b *Block) Delete(ctx context.Context, store string, r Delete) error {
	m, err := b.use(store)
	if err != nil {
		return err
	}
	defer m.calls.Done()
	key := r.Key
	if r.Key, err = m.stored(key); err != nil {
		return err
	}
	if err := b.transact(ctx, m, opDelete, []Operation{{Delete: &r}}); err != nil {
		return failed(codeDelete, err, "failed deleting state with key %s: %s", key)
	}
	return nil
}

// DeleteBulk removes all keys or none.
func (b *Block) DeleteBulk(ctx context.Context, store string, items []Delete) error {
	m, err := b.use(store)
	if err != nil {
		return err
	}
	defer m.calls.Done()
	ops := make([]Operation, 0, len(items))
	for i := range items {
		item := items[i]
		if item.Key, err = m.stored(item.Key); err != nil {
			return err
		}
		ops = append(ops, Operation{Delete: &item})
	}
	if err := b.transact(ctx, m, opBulkDelete, ops); err != nil {
		return failed(codeBulkDelete, err, "failed deleting state in state store %s: %s", store)
	}
	return nil
}

// A Step is one operation of a transaction as it was sent: "upsert" with an
// item, or "delete" with an item of which only the key, the ETag, the metadata
// and the options count.
type Step struct {
	Operation string
	Item      Set
}

// Transact carries out all steps in their order, or none.
func (b *Block) Transact(ctx context.Context, store string, steps []Step) error {
	m, err := b.use(store)
	if err != nil {
		return err
	}
	defer m.calls.Done()
	ops := make([]Operation, 0, len(steps))
	for _, step := range steps {
		op, err := m.operation(step)
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	if m.MaxOperations > 0 && len(ops) > m.MaxOperations {
		return tooMany(store, len(ops), m.MaxOperations)
	}
	if err := b.transact(ctx, m, opTransaction, ops); err != nil {
		return transactionFailed(err)
	}
	return nil
}

func (m *mounted) operation(step Step) (Operation, error) {
	item := step.Item
	key, err := m.stored(item.Key)
	if err != nil {
		return Operation{}, err
	}
	item.Key = key
	switch step.Operation {
	case "upsert":
		return Operation{Set: &item}, nil
	case "delete":
		return Operation{Delete: &Delete{Key: key, ETag: item.ETag, Metadata: item.Metadata, Options: item.Options}}, nil
	default:
		return Operation{}, unknownOperation(step.Operation)
	}
}

// Query is Dapr's alpha API, which no store here supports.
func (b *Block) Query(_ context.Context, store string) error {
	m, err := b.use(store)
	if err != nil {
		return err
	}
	defer m.calls.Done()
	return noQuery(store)
}

// transact reads what is in the operations' metadata and options, and hands
// them to the store.
func (b *Block) transact(ctx context.Context, m *mounted, operation string, ops []Operation) error {
	if len(ops) == 0 {
		return nil
	}
	for _, op := range ops {
		if err := op.prepare(); err != nil {
			return err
		}
	}
	return b.cfg.Around(ctx, Call{m.Name, operation}, func(ctx context.Context) error {
		return m.Store.Transact(ctx, ops)
	})
}
