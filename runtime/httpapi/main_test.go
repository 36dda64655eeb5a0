package httpapi_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"testing"
)

// standard is Config.Standard of the doors that tests open, unless they say so
// themselves.
var standard bool

// TestMain runs every test with each engine.
func TestMain(m *testing.M) {
	http.DefaultClient.Timeout = patience // no test waits for longer
	flag.Parse()
	engines := []bool{false, true}
	for _, name := range []string{"test.fuzz", "test.bench"} { // which compare the engines themselves
		if flag.Lookup(name).Value.String() != "" {
			engines = engines[:1]
		}
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
