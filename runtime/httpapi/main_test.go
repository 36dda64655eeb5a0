package httpapi_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// standard is Config.Standard of the doors that tests open, unless they say so
// themselves.
var standard bool

// TestMain runs every test with each engine.
func TestMain(m *testing.M) {
	flag.Parse()
	engines := []bool{false, true}
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing != nil && fuzzing.Value.String() != "" {
		engines = engines[:1] // which compares the engines itself
	}
	status := 0
	for _, standard = range engines {
		if got := m.Run(); got != 0 {
			fmt.Fprintf(os.Stderr, "with Config.Standard %v\n", standard)
			status = got
		}
	}
	os.Exit(status)
}
