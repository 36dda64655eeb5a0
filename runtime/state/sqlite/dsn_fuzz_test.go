package sqlite

import (
	"net/url"
	"strings"
	"testing"
)

// Whatever a file is called, its connection string leads to it, and opens it
// with our settings only.
func FuzzFilePath(f *testing.F) {
	for _, file := range []string{
		"/home/x/.pillion/state.db", "state.db", "/tmp/a b?mode=memory", "file:x", "/tmp/100%.db", "/tmp/#1;2&3", `C:\Users\x\state.db`, "/tmp/ключ?",
	} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file string) {
		if file == "" || file == ":memory:" || strings.HasPrefix(file, "//") {
			t.Skip("no file, or a host")
		}
		d, err := parseDSN(FilePath(file))
		if err != nil {
			t.Fatalf("parseDSN(FilePath(%q)): %v", file, err)
		}
		if d.path != file || d.memory || d.readOnly() || len(d.query) > 0 {
			t.Fatalf("FilePath(%q) is %+v", file, d)
		}
		path, query, _ := strings.Cut(strings.TrimPrefix(d.open("immediate", "query_only(1)"), "file:"), "?")
		if got, err := url.PathUnescape(path); err != nil || got != file || strings.Contains(path, "#") {
			t.Errorf("SQLite is told of %q, %v, want %q", got, err, file)
		}
		if values, err := url.ParseQuery(query); err != nil || values.Get("_pragma") != "query_only(1)" || len(values) != 2 {
			t.Errorf("the settings of %q are %v, %v", file, values, err)
		}
	})
}
