package sqlite

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/runtime/state"
)

// Defaults of the metadata.
const (
	defaultTable   = "state"
	defaultTimeout = 20 * time.Second
	// defaultBusy is more than Dapr's 2s: several processes share the file by
	// default here, and waiting is better than failing.
	defaultBusy = 10 * time.Second
)

// A Config says which file a store keeps its items in, and how.
type Config struct {
	// Path is the file, or a connection string of SQLite: a file: URI with its
	// parameters, or :memory:.
	Path string
	// Table holds the items. Default: state.
	Table string
	// Timeout bounds every operation. Default: 20s.
	Timeout time.Duration
	// Busy bounds the wait for other processes that write. Default: 10s.
	Busy time.Duration
	// Cleanup is how often expired items are removed at most, by whoever writes:
	// zero is with every write, negative never.
	Cleanup time.Duration
	// DisableWAL keeps the journal that works on network file systems. Readers
	// and writers wait for each other then.
	DisableWAL bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// FromMetadata reads the metadata of Dapr's state.sqlite.
func FromMetadata(metadata map[string]string) (Config, error) {
	p := state.NewProperties(metadata)
	cfg := Config{
		Path:       p.String("", "connectionString", "url"),
		Table:      p.String(defaultTable, "tableName"),
		Timeout:    p.Duration(defaultTimeout, time.Second, "timeout", "timeoutInSeconds"),
		Busy:       p.Duration(defaultBusy, time.Second, "busyTimeout"),
		Cleanup:    p.Duration(0, time.Second, "cleanupInterval", "cleanupIntervalInSeconds"),
		DisableWAL: p.Bool("disableWAL"),
	}
	if cfg.Timeout < time.Second {
		p.Refuse("timeout", cfg.Timeout.String(), "less than a second")
	}
	if !isIdentifier(cfg.Table) {
		p.Refuse("tableName", cfg.Table, "no name of a table: letters, digits and _ only")
	}
	if cfg.Path == "" {
		return cfg, errors.New("connectionString: missing; it is the path of the database file")
	}
	if _, err := parseDSN(cfg.Path); err != nil {
		p.Refuse("connectionString", cfg.Path, err.Error())
	}
	return cfg, p.Err()
}

func (c Config) withDefaults() Config {
	if c.Table == "" {
		c.Table = defaultTable
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Busy == 0 {
		c.Busy = defaultBusy
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func isIdentifier(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return name != ""
}

// FilePath is the connection string of a file, whatever is in its name.
func FilePath(file string) string {
	if !strings.Contains(file, "?") && !strings.HasPrefix(file, "file:") {
		return file
	}
	return "file:" + (&url.URL{Path: file}).EscapedPath()
}

// A dsn is a connection string, taken apart.
type dsn struct {
	path   string // "" or :memory: for one in memory
	query  url.Values
	memory bool
}

func parseDSN(text string) (dsn, error) {
	path, rest, _ := strings.Cut(text, "?")
	query, err := url.ParseQuery(rest)
	if err != nil {
		return dsn{}, errors.New("no connection string: its parameters cannot be read")
	}
	if uri, isURI := strings.CutPrefix(path, "file:"); isURI {
		if path, err = url.PathUnescape(uri); err != nil {
			return dsn{}, errors.New("no connection string: its path cannot be read")
		}
		if strings.HasPrefix(path, "//") { // file:///path, or file://localhost/path
			_, path, _ = strings.Cut(path[2:], "/")
			path = "/" + path
		}
	}
	for name := range query {
		// They would undo what makes sharing the file safe.
		if name == "_txlock" {
			return dsn{}, errors.New("not possible: _txlock is always immediate")
		}
	}
	d := dsn{path: path, query: query}
	d.memory = path == ":memory:" || path == "" || query.Get("mode") == "memory"
	return d, nil
}

// readOnly reports whether the file may not be written.
func (d dsn) readOnly() bool { return d.query.Get("mode") == "ro" || d.query.Get("immutable") == "1" }

// open is the text that opens d: with how its transactions begin, and further
// settings.
func (d dsn) open(begin string, pragmas ...string) string {
	query := url.Values{"_txlock": {begin}}
	for name, values := range d.query {
		query[name] = append(query[name], values...)
	}
	// Ours come last, so that they hold.
	query["_pragma"] = append(query["_pragma"], pragmas...)
	escaped := (&url.URL{Path: d.path}).EscapedPath()
	return "file:" + escaped + "?" + query.Encode()
}
