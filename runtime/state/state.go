// Package state is the state building block: what both doors call, and what a
// store must be able to do. It knows no door and no store: the drivers are in
// the folders below, and only the sidecar imports them.
package state

import (
	"context"
	"errors"
)

// Concurrency says who wins when two write one key.
type Concurrency uint8

// The concurrencies. Unset is last-write, as Dapr's.
const (
	ConcurrencyUnset Concurrency = iota
	FirstWrite
	LastWrite
)

// Consistency is what the caller asks of a replicated store.
type Consistency uint8

// The consistencies.
const (
	ConsistencyUnset Consistency = iota
	Eventual
	Strong
)

// Options are Dapr's options of a request.
type Options struct {
	Concurrency Concurrency
	Consistency Consistency
}

// An Item is what a store has under a key.
type Item struct {
	// Value is what was saved; nil if there is none.
	Value []byte
	// ETag names this version of the value; "" if there is none.
	ETag string
	// Metadata is what the store says about it, such as ttlExpireTime (RFC 3339).
	Metadata map[string]string
}

// Exists reports whether the key was there.
func (i Item) Exists() bool { return i.ETag != "" }

// A Get asks for one key. Metadata is the request's.
type Get struct {
	Key         string
	Consistency Consistency
	Metadata    map[string]string
}

// A Set saves one key. The store gets Value as it was sent: JSON verbatim over
// HTTP, bytes over gRPC.
type Set struct {
	Key   string
	Value []byte
	// ETag is the version that must be there; nil: no check. Dapr tells an
	// empty one from none.
	ETag *string
	// Metadata is the item's: ttlInSeconds, contentType and the like.
	Metadata map[string]string
	Options  Options
}

// A Delete removes one key.
type Delete struct {
	Key      string
	ETag     *string
	Metadata map[string]string
	Options  Options
}

// An Operation is one step of a transaction: exactly one of both is set.
type Operation struct {
	Set    *Set
	Delete *Delete
}

// A BulkItem is the answer for one key of many.
type BulkItem struct {
	Key string
	Item
	// Err is why this one could not be read; nil if it could, also if it is not
	// there.
	Err error
}

// What a store says when a condition does not hold. Stores wrap them.
var (
	// ErrETagMismatch: another version is there, or none.
	ErrETagMismatch = errors.New("possible etag mismatch. error from state store")
	// ErrETagInvalid: the ETag is none this store could have given.
	ErrETagInvalid = errors.New("invalid etag value")
)

// A Store keeps values by key. Keys come with their prefix. A Store is safe for
// concurrent use, and every method returns when ctx ends.
type Store interface {
	// Get returns the item under key; the zero Item if there is none.
	Get(ctx context.Context, r Get) (Item, error)
	// BulkGet returns an answer for each request, in their order.
	BulkGet(ctx context.Context, r []Get) ([]BulkItem, error)
	// Transact carries out all operations or none. An operation whose ETag does
	// not match fails all, with ErrETagMismatch. A single Set or Delete is a
	// transaction of one.
	Transact(ctx context.Context, ops []Operation) error
	// Close releases what the store holds. The store is not used after it.
	Close() error
}
