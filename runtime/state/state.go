// Package state is the state building block: what both doors call, and what a
// store must be able to do. It knows no door and no store: the drivers are in
// the folders below, and only the sidecar imports them.
package state

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Concurrency says who wins when two write one key. The words are Dapr's; ""
// is last-write.
type Concurrency string

// The concurrencies.
const (
	FirstWrite Concurrency = "first-write"
	LastWrite  Concurrency = "last-write"
)

// Consistency is what the caller asks of a replicated store. "" is the store's
// own.
type Consistency string

// The consistencies.
const (
	Eventual Consistency = "eventual"
	Strong   Consistency = "strong"
)

// Options are Dapr's options of a request, as they were sent. The Block refuses
// words it does not know; a store sees only those above.
type Options struct {
	Concurrency Concurrency
	Consistency Consistency
}

// MetadataTTLExpireTime is the metadata of an item that will expire: when, as
// RFC 3339.
const MetadataTTLExpireTime = "ttlExpireTime"

// An Item is what a store has under a key.
type Item struct {
	// Value is what was saved; it may be empty. It is the caller's to keep, and
	// nobody's to change.
	Value []byte
	// ETag names this version of the value; "" if there is no item.
	ETag string
	// Metadata is what the store says about it, such as MetadataTTLExpireTime.
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

// NoExpiry is the TTL of an item that never expires, whatever the store's
// default is.
const NoExpiry time.Duration = -1

// A Set saves one key.
type Set struct {
	Key string
	// Value is what was sent: JSON verbatim over HTTP (nothing sent is null),
	// bytes over gRPC. A store keeps a copy.
	Value []byte
	// ETag is the version that must be there; nil or empty: no check, but for
	// first-write, which then wants nothing to be there.
	ETag *string
	// Metadata is the item's: ttlInSeconds, contentType and the like.
	Metadata map[string]string
	Options  Options
	// TTL is how long the item lives: 0 is the store's default, and NoExpiry for
	// ever. The Block reads it from the metadata; doors leave it alone.
	TTL time.Duration
}

// A Delete removes one key. A key that is not there is no failure, unless an
// ETag was wanted.
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

// What a store says when a condition does not hold. Stores wrap them, with the
// detail behind a colon.
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
	// Transact carries out all operations in their order, or none. An operation
	// whose ETag does not match fails all, with ErrETagMismatch. A single Set or
	// Delete is a transaction of one. A failure other than of a condition leaves
	// open whether it was carried out, but never a part of it.
	Transact(ctx context.Context, ops []Operation) error
	// Close releases what the store holds. The store is not used after it.
	Close() error
}

// Condition is the version that must be under key for op to be carried out, ""
// for none at all; ok is false if op has no condition. A delete has one only
// with an ETag.
func (op Operation) Condition() (key, want string, ok bool) {
	if op.Delete != nil {
		want = text(op.Delete.ETag)
		return op.Delete.Key, want, want != ""
	}
	want = text(op.Set.ETag)
	return op.Set.Key, want, want != "" || op.Set.Options.Concurrency == FirstWrite
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// CheckETag says whether a write's condition holds: it wants the version want,
// "" for first-write's wish that there be none, and have is there, "" if nothing
// is.
func CheckETag(key, want, have string) error {
	switch {
	case want == have:
		return nil
	case want == "":
		return fmt.Errorf("%w: item already exists and no etag was passed", ErrETagMismatch)
	case have == "":
		return fmt.Errorf("%w: no item under key %s, or it has expired", ErrETagMismatch, key)
	default:
		return fmt.Errorf("%w: key %s has etag %s, not %s", ErrETagMismatch, key, have, want)
	}
}
