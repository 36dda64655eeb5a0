package sdktest_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The columns of the table: an SDK and how it talks to the sidecar.
const (
	goClient = "Go"
	jsHTTP   = "JavaScript, HTTP"
	jsGRPC   = "JavaScript, gRPC"
	pyHTTP   = "Python's calls, HTTP"
	pyGRPC   = "Python's calls, gRPC"
)

var columns = []string{goClient, jsHTTP, jsGRPC, pyHTTP, pyGRPC}

// features are the table's rows.
var features = []string{
	"start-up",
	"invoke: POST with a body",
	"invoke: GET",
	"invoke: PUT and DELETE",
	"invoke: the app's error",
	"invoke: an app that is not there",
	"invoke: a gRPC app",
	"service: an app made with the SDK, HTTP",
	"service: an app made with the SDK, gRPC",
	"proxy: a gRPC service of one's own",
	"API token",
	"app's token",
	"state: save and get",
	"state: a missing key",
	"state: bulk get",
	"state: ETag",
	"state: transaction",
	"state: delete",
	"state: delete in bulk",
	"state: time to live",
	"state: a store that is not there",
	"metadata",
	"health",
	"another building block",
	"shutdown",
}

// A result is what came of a feature with an SDK.
type result struct{ tried, failed bool }

// table are the results of this run.
type table struct {
	mu   sync.Mutex // guards what follows
	rows map[string]map[string]result
	part bool // a test was skipped
}

// lacks skips a test for want of a program; CI lets no test be skipped.
func lacks(t *testing.T, format string, args ...any) {
	t.Helper()
	results.mu.Lock()
	results.part = true
	results.mu.Unlock()
	t.Skipf(format+" (scripts/test --install)", args...)
}

var results = table{rows: map[string]map[string]result{}}

// check runs one feature of an SDK as a test and notes what came of it.
func check(t *testing.T, sdk, feature string, f func(t *testing.T)) {
	t.Helper()
	if !slices.Contains(features, feature) {
		t.Fatalf("%q is no row of the table", feature)
	}
	ok := t.Run(feature, f)
	results.note(sdk, feature, ok)
}

func (r *table) note(sdk, feature string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows[feature] == nil {
		r.rows[feature] = map[string]result{}
	}
	before := r.rows[feature][sdk]
	r.rows[feature][sdk] = result{tried: true, failed: before.failed || !ok}
}

// The table stands between these lines.
const (
	tableFile  = "../../../docs/compatibility.md"
	tableBegin = "<!-- sdk:table -->\n"
	tableEnd   = "<!-- /sdk:table -->"
)

func (r *table) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---%s|\n", strings.Join(columns, " | "), strings.Repeat("|:---:", len(columns)))
	for _, feature := range features {
		fmt.Fprintf(&b, "| %s |", feature)
		for _, sdk := range columns {
			mark := "–" // the SDK has no such thing
			switch got := r.rows[feature][sdk]; {
			case got.failed:
				mark = "fails"
			case got.tried:
				mark = "works"
			}
			b.WriteString(" " + mark + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// compare says whether the documentation shows these results; with UPDATE=1 it
// writes them.
func (r *table) compare() error {
	if r.part {
		return nil
	}
	data, err := os.ReadFile(tableFile)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(data), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		return errors.New("docs/compatibility.md has no place for the table of SDKs")
	}
	want := before + tableBegin + "\n" + r.String() + "\n" + tableEnd + after
	if want == string(data) {
		return nil
	}
	if os.Getenv("UPDATE") == "" {
		return fmt.Errorf("docs/compatibility.md shows other results than these (UPDATE=1 writes them):\n%s", r)
	}
	return os.WriteFile(tableFile, []byte(want), 0o644)
}
