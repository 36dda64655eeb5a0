package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

const (
	// readers are the connections that read at once, beside the one that writes.
	readers = 4
	// pages bounds the memory of one connection's cache, in KiB.
	pages = 512
	// idle is how long a connection is kept that nobody uses.
	idle = 5 * time.Minute
	// wayOut is what to do about a file on a network file system.
	wayOut = `keep it on a local disk (--state for the built-in store, "connectionString" for a component), ` +
		`or set "disableWAL" to "true" in a component`
	// again is the wait before a file is opened again that others are opening.
	again = 5 * time.Millisecond
)

// A file is an open database.
type file struct {
	write, read *sql.DB // the same one for a database in memory
	sql         statements
	ready       prepared
	cfg         Config

	cleaned atomic.Int64 // when expired items were last removed, as UnixNano
}

// open opens the file, and makes it and its table if they are not there.
func (s *Store) open(ctx context.Context) (*file, error) {
	d, err := parseDSN(s.cfg.Path)
	if err != nil {
		return nil, err
	}
	if err := s.prepareFile(d); err != nil {
		return nil, err
	}
	for {
		f, err := s.openOnce(ctx, d)
		// Of several processes that make the same file, all but one are refused
		// without a wait: the journal's mode cannot be awaited.
		if !isBusy(err) || !pause(ctx, again) {
			return f, err
		}
	}
}

// prepareFile sees to it that a database file is the user's alone, and that WAL
// works where it is.
func (s *Store) prepareFile(d dsn) error {
	if d.memory || d.readOnly() {
		return nil
	}
	if !s.cfg.DisableWAL {
		if kind, isNetwork := s.network(filepath.Dir(d.path)); isNetwork {
			return fmt.Errorf("it is on a network file system (%s), where several processes cannot share it safely: %s", kind, wayOut)
		}
	}
	return makePrivate(d.path)
}

// makePrivate makes a file that only its owner may read, unless it is there. It
// never closes a descriptor of a file that this process may have open as a
// database: that would drop the locks of its connections. So the file gets its
// name only when it is closed. Where that cannot be, SQLite makes it as the
// user's mask says.
func makePrivate(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // its other name stays
	if err := f.Close(); err != nil {
		return err
	}
	_ = os.Link(f.Name(), path) // somebody may have been faster
	return nil
}

func (s *Store) openOnce(ctx context.Context, d dsn) (*file, error) {
	f := &file{cfg: s.cfg, sql: statementsFor(s.cfg.Table)}
	f.write = s.writer(d)
	f.read = f.write
	if !d.memory {
		f.read = s.reader(d)
	}
	err := f.makeTable(ctx, d.readOnly())
	if err == nil {
		err = f.prepare(ctx)
	}
	if err != nil {
		_ = f.close() // the first error is the one to tell
		return nil, err
	}
	return f, nil
}

// writer is the one connection that writes, for a file also the only one of
// this process that sets its journal's mode, which stays in the file.
func (s *Store) writer(d dsn) *sql.DB {
	journal := "journal_mode(WAL)"
	if s.cfg.DisableWAL {
		journal = "journal_mode(DELETE)"
	}
	pragmas := []string{"busy_timeout(" + s.busy() + ")", "synchronous(FULL)", cache()}
	if !d.readOnly() && !d.memory {
		pragmas = append(pragmas, journal)
	}
	db := s.database(d, d.open("immediate", pragmas...))
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	return db
}

// reader are the connections that read beside it.
func (s *Store) reader(d dsn) *sql.DB {
	db := s.database(d, d.open("deferred", "busy_timeout("+s.busy()+")", cache(), "query_only(1)"))
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return db
}

func (s *Store) busy() string { return strconv.FormatInt(s.cfg.Busy.Milliseconds(), 10) }

func cache() string { return "cache_size(-" + strconv.Itoa(pages) + ")" }

func (s *Store) database(d dsn, text string) *sql.DB {
	connector, err := driver.NewConnector(text)
	if err != nil {
		return sql.OpenDB(refused{err})
	}
	db := sql.OpenDB(connector)
	if !d.memory { // what is in memory goes with its connection
		db.SetConnMaxIdleTime(idle)
	}
	return db
}

// makeTable makes the table, and waits for nobody who writes if it is there.
func (f *file) makeTable(ctx context.Context, readOnly bool) error {
	var made int
	if err := f.write.QueryRowContext(ctx, f.sql.made).Scan(&made); err != nil || made == 2 || readOnly {
		return err
	}
	tx, err := f.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing after a commit
	for _, statement := range []string{f.sql.table, f.sql.index} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// prepared are the statements that are used again and again.
type prepared struct{ get, etag, set, remove, clean *sql.Stmt }

// prepare has SQLite compile them. A connection that is opened later does it by
// itself.
func (f *file) prepare(ctx context.Context) error {
	var errs []error
	on := func(db *sql.DB, text string) *sql.Stmt {
		s, err := db.PrepareContext(ctx, text)
		errs = append(errs, err)
		return s
	}
	f.ready = prepared{
		get: on(f.read, f.sql.get), etag: on(f.write, f.sql.etag), set: on(f.write, f.sql.set),
		remove: on(f.write, f.sql.remove), clean: on(f.write, f.sql.clean),
	}
	return errors.Join(errs...)
}

// close closes the connections, and what was prepared on them.
func (f *file) close() error {
	var err error
	if f.read != f.write {
		err = f.read.Close()
	}
	return errors.Join(err, f.write.Close())
}

// isBusy reports whether others hold a lock that was needed.
func isBusy(err error) bool {
	e, isOurs := errors.AsType[*driver.Error](err)
	return isOurs && (e.Code()&0xff == lib.SQLITE_BUSY || e.Code()&0xff == lib.SQLITE_LOCKED)
}

// pause waits, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// explain says whose failure it is, and why an operation ended that was
// cancelled.
func (s *Store) explain(ctx context.Context, err error) error {
	switch {
	case err == nil, isCondition(err):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("sqlite %s: %w", s.cfg.Path, context.Cause(ctx))
	case isBusy(err):
		return fmt.Errorf("sqlite %s: another program keeps it locked; waited up to %v: %w", s.cfg.Path, s.cfg.Busy, err)
	default:
		return fmt.Errorf("sqlite %s: %w", s.cfg.Path, err)
	}
}
