package sqlite_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/sqlite"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

// patient is for machines that are slow: nothing here is about these bounds.
const patient = 2 * time.Minute

func open(t *testing.T, cfg sqlite.Config) *sqlite.Store {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout, cfg.Busy = patient, patient
	}
	s := sqlite.New(cfg)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// fileName has what a connection string would take for something else.
var fileName = map[rune]string{'/': "my state?mode=ro.db", '\\': "my state.db"}[os.PathSeparator]

func TestStore(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]sqlite.Config{
		"a file":      {},
		"without WAL": {DisableWAL: true, Table: "tasks", Cleanup: -1},
		"in memory":   {Path: ":memory:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statetest.Run(t, func(t *testing.T) statetest.Harness {
				cfg := cfg
				if cfg.Path == "" {
					cfg.Path = sqlite.FilePath(filepath.Join(t.TempDir(), fileName))
				}
				var moved atomic.Int64
				began := time.Now()
				cfg.Now = func() time.Time { return began.Add(time.Duration(moved.Load())) }
				return statetest.Harness{
					Shares:  cfg.Path != ":memory:",
					Open:    func() state.Store { return open(t, cfg) },
					Advance: func(d time.Duration) { moved.Add(int64(d)) },
				}
			})
		})
	}
}

func TestNothingIsMadeBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, sqlite.Config{Path: path})
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there after New: %v", err)
	}
	statetest.Save(t, s, state.Set{Key: "a", Value: []byte("1")})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 && os.PathSeparator == '/' {
		t.Errorf("the file has mode %v, want 0600", mode)
	}
}

func TestWhatIsWrongIsSaidWithTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing", "state.db"): "no such file or directory",
		garbage: "file is not a database",
	} {
		_, err := open(t, sqlite.Config{Path: path}).Get(t.Context(), state.Get{Key: "a"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "sqlite "+path) {
			t.Errorf("Get with %s = %v, want %q", path, err, want)
		}
	}
}

// What was in the way may be gone at the next call.
func TestAFileThatCouldNotBeOpenedIsTriedAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	s := open(t, sqlite.Config{Path: filepath.Join(dir, "state.db")})
	if _, err := s.Get(t.Context(), state.Get{Key: "a"}); err == nil {
		t.Fatal("no error without the folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	statetest.Save(t, s, state.Set{Key: "a", Value: []byte("1")})
}

func TestANetworkFileSystemIsRefusedWithAWayOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	nfs := func(string) (string, bool) { return "NFS", true }
	s := open(t, sqlite.Config{Path: path})
	sqlite.SetNetwork(s, nfs)
	_, err := s.Get(t.Context(), state.Get{Key: "a"})
	want := "sqlite " + path + ": it is on a network file system (NFS), where several processes cannot share it safely: " +
		`keep it on a local disk (--state for the built-in store, "connectionString" for a component), or set "disableWAL" to "true" in a component`
	if err == nil || err.Error() != want {
		t.Errorf("Get = %v, want %s", err, want)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
	rollback := open(t, sqlite.Config{Path: path, DisableWAL: true})
	sqlite.SetNetwork(rollback, nfs)
	statetest.Save(t, rollback, state.Set{Key: "a", Value: []byte("1")})
}

// A writer that stops in the middle keeps the others waiting, not for ever.
func TestALockedFileIsWaitedForAndSaid(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	holder := open(t, sqlite.Config{Path: path})
	statetest.Save(t, holder, state.Set{Key: "a", Value: []byte("1")})
	release, err := sqlite.Lock(t.Context(), holder)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, sqlite.Config{Path: path, Busy: 50 * time.Millisecond, Timeout: patient})
	if item := statetest.Read(t, open(t, sqlite.Config{Path: path}), "a"); string(item.Value) != "1" {
		t.Errorf("a reader beside the writer gets %q", item.Value)
	}
	write := []state.Operation{{Set: &state.Set{Key: "a", Value: []byte("2")}}}
	if err := s.Transact(t.Context(), write); err == nil || !strings.Contains(err.Error(), "another program keeps it locked; waited up to 50ms") {
		t.Errorf("Transact = %v", err)
	}
	gone := errors.New("the caller has gone")
	waiting := open(t, sqlite.Config{Path: path})
	statetest.Read(t, waiting, "a")
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- waiting.Transact(ctx, write) }()
	cancel(gone)
	if err := <-failed; !errors.Is(err, gone) {
		t.Errorf("a write that waits, after its caller has gone = %v, want %v", err, gone)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := s.Transact(t.Context(), write); err != nil {
		t.Errorf("Transact of a free file = %v", err)
	}
}

func TestExpiredItemsAreRemovedByWhoeverWrites(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := open(t, sqlite.Config{Path: filepath.Join(t.TempDir(), "state.db"), Now: func() time.Time { return now }})
	for _, key := range []string{"a", "b", "c"} {
		statetest.Save(t, s, state.Set{Key: key, TTL: time.Second})
	}
	now = now.Add(time.Minute)
	statetest.Save(t, s, state.Set{Key: "d"})
	if n, err := sqlite.Rows(t.Context(), s); err != nil || n != 1 {
		t.Errorf("%d rows are left, %v, want 1", n, err)
	}
}

func TestMetadataIsDaprs(t *testing.T) {
	t.Parallel()
	cfg, err := sqlite.FromMetadata(map[string]string{
		"ConnectionString": "data.db", "timeoutInSeconds": "30", "tableName": "tasks", "cleanupInterval": "1h",
		"busyTimeout": "100ms", "disableWAL": "True", "actorStateStore": "true", "keyPrefix": "none", "metadataTableName": "m",
	})
	want := sqlite.Config{
		Path: "data.db", Table: "tasks", Timeout: 30 * time.Second, Busy: 100 * time.Millisecond, Cleanup: time.Hour, DisableWAL: true,
	}
	cfg.Now = nil
	if err != nil || !equal(cfg, want) {
		t.Errorf("FromMetadata = %+v, %v, want %+v", cfg, err, want)
	}
	for metadata, want := range map[[2]string]string{
		{"url", ""}:                          "connectionString: missing",
		{"timeout", "soon"}:                  `timeout: "soon" is no duration`,
		{"timeout", "10ms"}:                  `timeout: "10ms" is less than a second`,
		{"tableName", "a;b"}:                 `tableName: "a;b" is no name of a table`,
		{"url", "a.db?_txlock=deferred"}:     "_txlock is always immediate",
		{"url", "a.db?_pragma=%zz"}:          "its parameters cannot be read",
		{"connectionString", "file:%zz?a=b"}: "its path cannot be read",
	} {
		m := map[string]string{"url": "a.db", metadata[0]: metadata[1]}
		if _, err := sqlite.FromMetadata(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("FromMetadata(%v) = %v, want %q", m, err, want)
		}
	}
}

func equal(a, b sqlite.Config) bool {
	return a.Path == b.Path && a.Table == b.Table && a.Timeout == b.Timeout && a.Busy == b.Busy &&
		a.Cleanup == b.Cleanup && a.DisableWAL == b.DisableWAL
}

func TestAStoreThatIsClosedSaysSo(t *testing.T) {
	t.Parallel()
	s := sqlite.New(sqlite.Config{Path: filepath.Join(t.TempDir(), "state.db")})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), state.Get{Key: "a"}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Get = %v", err)
	}
}
