package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pillion-dev/pillion/runtime/state"
)

const (
	// bulkKeys are the keys of one statement; SQLite bounds its variables.
	bulkKeys = 500
	// cleanRows bounds what one write removes of what has expired.
	cleanRows = 100
	// stamp is how times stand in the file: as SQLite's own functions write
	// them, with milliseconds, so that they compare as text.
	stamp = "2006-01-02 15:04:05.000"
)

// statements are the SQL of one table. Its columns are Dapr's.
type statements struct {
	made, table, index, etag, get, bulkGet, set, remove, clean string
}

func statementsFor(table string) statements {
	const live = "(expiration_time IS NULL OR expiration_time > ?)"
	in := func(text string) string { return strings.ReplaceAll(text, "{table}", table) }
	return statements{
		made: in("SELECT count(*) FROM sqlite_master WHERE name IN ('{table}', 'idx_{table}_expires')"),
		table: in(`CREATE TABLE IF NOT EXISTS {table} (
			key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL, etag TEXT NOT NULL,
			expiration_time TIMESTAMP DEFAULT NULL, update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)`),
		index: in(`CREATE INDEX IF NOT EXISTS idx_{table}_expires ON {table} (expiration_time)
			WHERE expiration_time IS NOT NULL`),
		etag: in("SELECT etag FROM {table} WHERE key = ? AND " + live),
		get:  in("SELECT value, is_binary, etag, expiration_time || '' FROM {table} WHERE key = ? AND " + live),
		bulkGet: in("SELECT key, value, is_binary, etag, expiration_time || '' FROM {table} WHERE " + live +
			" AND key IN (?"),
		set: in(`INSERT INTO {table} (key, value, is_binary, etag, expiration_time, update_time) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value, is_binary = excluded.is_binary, etag = excluded.etag,
			expiration_time = excluded.expiration_time, update_time = excluded.update_time`),
		remove: in("DELETE FROM {table} WHERE key = ?"),
		clean: in(`DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table}
			WHERE expiration_time IS NOT NULL AND expiration_time <= ? LIMIT ?)`),
	}
}

func at(t time.Time) string { return t.UTC().Format(stamp) }

// A row is an item as it stands in the file.
type row struct {
	value    []byte
	isBinary bool
	etag     string
	expires  sql.NullString
}

// item is what the row means.
func (r row) item() (state.Item, error) {
	item := state.Item{Value: r.value, ETag: r.etag}
	if item.Value == nil {
		item.Value = []byte{}
	}
	if r.isBinary {
		value, err := base64.StdEncoding.DecodeString(string(r.value))
		if err != nil {
			return state.Item{}, fmt.Errorf("the value is marked as binary and is no base64: %w", err)
		}
		item.Value = value
	}
	if r.expires.Valid {
		expires, err := time.Parse(time.DateTime, r.expires.String) // takes the fraction, too
		if err != nil {
			return state.Item{}, fmt.Errorf("the time it expires at cannot be read: %w", err)
		}
		item.Metadata = map[string]string{state.MetadataTTLExpireTime: expires.Format(time.RFC3339)}
	}
	return item, nil
}

func (f *file) get(ctx context.Context, key string, now time.Time) (state.Item, error) {
	var r row
	err := f.ready.get.QueryRowContext(ctx, key, at(now)).Scan(&r.value, &r.isBinary, &r.etag, &r.expires)
	if errors.Is(err, sql.ErrNoRows) {
		return state.Item{}, nil
	}
	if err != nil {
		return state.Item{}, err
	}
	return r.item()
}

func (f *file) bulkGet(ctx context.Context, r []state.Get, now time.Time) ([]state.BulkItem, error) {
	tx, err := f.read.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	found := make(map[string]state.BulkItem, len(r))
	for part := r; len(part) > 0; part = part[min(bulkKeys, len(part)):] {
		if err := f.bulkPart(ctx, tx, part[:min(bulkKeys, len(part))], now, found); err != nil {
			return nil, err
		}
	}
	all := make([]state.BulkItem, len(r))
	for i := range r {
		all[i] = found[r[i].Key]
		all[i].Key = r[i].Key
	}
	return all, nil
}

func (f *file) bulkPart(ctx context.Context, tx *sql.Tx, part []state.Get, now time.Time, found map[string]state.BulkItem) error {
	args := make([]any, 0, 1+len(part))
	args = append(args, at(now))
	for i := range part {
		args = append(args, part[i].Key)
	}
	rows, err := tx.QueryContext(ctx, f.sql.bulkGet+strings.Repeat(", ?", len(part)-1)+")", args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its errors are rows.Err's
	for rows.Next() {
		var key string
		var r row
		if err := rows.Scan(&key, &r.value, &r.isBinary, &r.etag, &r.expires); err != nil {
			return err
		}
		item, err := r.item()
		found[key] = state.BulkItem{Item: item, Err: err}
	}
	return rows.Err()
}

func (f *file) transact(ctx context.Context, ops []state.Operation) error {
	tx, err := f.write.BeginTx(ctx, nil) // immediate: from here on nobody else writes
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing after a commit
	now := f.cfg.Now()
	for _, op := range ops {
		if err := f.apply(ctx, tx, op, now); err != nil {
			return err
		}
	}
	if err := f.clean(ctx, tx, now); err != nil {
		return err
	}
	return tx.Commit()
}

func (f *file) apply(ctx context.Context, tx *sql.Tx, op state.Operation, now time.Time) error {
	if key, want, isConditional := op.Condition(); isConditional {
		if err := f.check(ctx, tx, key, want, now); err != nil {
			return err
		}
	}
	if op.Delete != nil {
		_, err := tx.StmtContext(ctx, f.ready.remove).ExecContext(ctx, op.Delete.Key)
		return err
	}
	var expires sql.NullString
	if op.Set.TTL > 0 {
		expires = sql.NullString{String: at(now.Add(op.Set.TTL)), Valid: true}
	}
	value, isBinary := encode(op.Set.Value)
	_, err := tx.StmtContext(ctx, f.ready.set).ExecContext(ctx, op.Set.Key, value, isBinary, newETag(), expires, at(now))
	return err
}

// encode writes text as it is, so that other programs can read it in the file,
// and what is none in Dapr's way.
func encode(value []byte) (text string, isBinary bool) {
	if utf8.Valid(value) && !strings.ContainsRune(string(value), 0) {
		return string(value), false
	}
	return base64.StdEncoding.EncodeToString(value), true
}

func newETag() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// check says whether a write's condition holds.
func (f *file) check(ctx context.Context, tx *sql.Tx, key, want string, now time.Time) error {
	var have string
	err := tx.StmtContext(ctx, f.ready.etag).QueryRowContext(ctx, key, at(now)).Scan(&have)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return state.CheckETag(key, want, have)
}

func isCondition(err error) bool {
	return errors.Is(err, state.ErrETagMismatch) || errors.Is(err, state.ErrETagInvalid)
}

// clean removes some of what has expired.
func (f *file) clean(ctx context.Context, tx *sql.Tx, now time.Time) error {
	last := f.cleaned.Load()
	if f.cfg.Cleanup < 0 || now.UnixNano()-last < int64(f.cfg.Cleanup) {
		return nil
	}
	f.cleaned.Store(now.UnixNano())
	_, err := tx.StmtContext(ctx, f.ready.clean).ExecContext(ctx, at(now), cleanRows)
	return err
}
