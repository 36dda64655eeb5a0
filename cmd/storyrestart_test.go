package cmd

import (
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// waitStale waits until an app runs on although its newest source does not, or,
// negated, until it is what its source says: waitstale web, ! waitstale web.
func waitStale(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] waitstale APP")
	}
	await(ts, args[0]+" is stale, or not", func() bool {
		return (oneOf(ts, args[0]).Stale == "") == neg
	})
}

// waitRestarts waits until an app was restarted so many times, and is ready:
// waitrestarts web 2.
func waitRestarts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitrestarts APP N")
	}
	await(ts, args[0]+" was restarted "+args[1]+" times", func() bool {
		e := oneOf(ts, args[0])
		return strconv.Itoa(e.Restarts) == args[1] && e.State == "ready"
	})
}
