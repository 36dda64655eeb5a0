// Package difftest_test holds the call path to its promise: what a client and
// an app say to each other through two sidecars is, byte for byte, what they
// would say directly, apart from what docs/differences.md lists. Both ends are
// raw sockets that follow the scripts in testdata; testdata/README.md tells how
// to write one.
package difftest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// How much the corpus has to hold.
const (
	leastCases       = 500
	leastPerCategory = 40
)

// engines are those the corpus runs through.
var engines = []string{"fast", standardEngine}

const standardEngine = "standard"

func TestCorpus(t *testing.T) {
	t.Parallel()
	cases, err := readCorpus("testdata")
	if err != nil {
		t.Fatal(err)
	}
	count(t, cases)
	var exchanges tally
	t.Run("all", func(t *testing.T) {
		for _, engine := range engines {
			for _, protocol := range allProtocols {
				t.Run(engine+"/"+protocol, func(t *testing.T) {
					t.Parallel()
					runAll(t, cases, protocol, engine, &exchanges)
				})
			}
		}
	})
	t.Log(exchanges.table())
}

// runAll runs every case of a protocol over one pair of sidecars.
func runAll(t *testing.T, cases []*testCase, protocol, engine string, exchanges *tally) {
	at := newTarget(t, protocol, engine)
	cases = append(slices.Clone(cases), generated(protocol)...)
	t.Cleanup(func() {
		for _, stray := range at.late() {
			t.Errorf("the app got a request that no client sent: %s", stray)
		}
	})
	for _, alone := range []bool{true, false} {
		for _, c := range cases {
			if c.alone != alone || !slices.Contains(c.on, protocol) || takesCallbacks(protocol) && !c.isGRPC() {
				continue
			}
			t.Run(c.category+"/"+c.name, func(t *testing.T) {
				if !alone {
					t.Parallel()
				}
				at.try(t, c, engine)
				exchanges.add(protocol, c.category, len(c.forms))
			})
		}
	}
}

// takesCallbacks reports whether the app gets what is not gRPC's own as a
// callback of Dapr's, which is another request.
func takesCallbacks(protocol string) bool { return strings.HasPrefix(protocol, "grpc") }

// count checks that the corpus holds enough.
func count(t *testing.T, cases []*testCase) {
	t.Helper()
	found := map[string]int{}
	for _, c := range cases {
		found[c.category]++
	}
	for _, category := range categories {
		if found[category] < leastPerCategory {
			t.Errorf("%d cases of %s, want at least %d", found[category], category, leastPerCategory)
		}
	}
	if len(cases) < leastCases {
		t.Errorf("%d cases, want at least %d", len(cases), leastCases)
	}
	t.Logf("%d cases: %v", len(cases), found)
}

// try runs a case in each of its forms and compares.
func (t *target) try(test *testing.T, c *testCase, engine string) {
	difference := c.differs
	if engine == standardEngine && c.standard != "" {
		difference = c.standard
	}
	var want []string
	for _, f := range c.forms {
		if f == direct && takesNoApp(c.differs) {
			continue // it is not for apps
		}
		r := t.carryOut(test, c, f, f != direct && takesNoApp(difference))
		v := view{through: f != direct, http2: t.http2(), loose: c.loose || engine == standardEngine}
		got := v.of(r)
		defer t.end(r)
		switch {
		case f == direct:
			want = got
			if len(r.problems) > 0 {
				test.Fatalf("%s: direct:\n%s", c.at, strings.Join(got, "\n"))
			}
		case difference != "":
			wrong := differs(difference, r, v, want)
			switch known := c.knownToFail(t.protocol); {
			case wrong != "" && known:
				test.Logf("%s: known: %s", c.at, c.fails)
			case wrong != "":
				test.Errorf("%s: %s form: %s\n%s", c.at, f, wrong, strings.Join(got, "\n"))
			}
		default:
			t.compare(test, r, want, got)
		}
	}
}

// compare reports what differs, unless it is known to be wrong still.
func (t *target) compare(test *testing.T, r *run, want, got []string) {
	diff := cmp.Diff(want, got)
	switch known := r.c.knownToFail(t.protocol); {
	case diff != "" && known:
		test.Logf("%s: known: %s", r.c.at, r.c.fails)
	case diff != "":
		test.Errorf("%s: %s form (-direct +through):\n%s", r.c.at, r.form, diff)
	}
}

// carryOut runs both scripts to their ends.
func (t *target) carryOut(test *testing.T, c *testCase, f form, refused bool) *run {
	r := t.newRun(c, f)
	began := time.Now()
	ctx, cancel := context.WithTimeout(test.Context(), patience)
	defer cancel()
	conn, err := t.dial(ctx, f)
	if err != nil {
		test.Fatal(err)
	}
	var clientSide interface {
		speaker
		settle()
	}
	var appSide speaker
	if t.http2() {
		clientSide, appSide = newClient2(r, conn), &app2{r: r, at: -1}
	} else {
		one := newClient1(r, conn)
		one.refused = refused && closes(c.differs)
		clientSide, appSide = one, &app1{r: r, at: -1}
	}
	together(func() {
		(&script{r: r, steps: c.client, who: client, s: clientSide}).run()
		clientSide.settle()
		r.update(func() { r.over = true })
	}, func() {
		if !refused {
			(&script{r: r, steps: c.app, who: app, s: appSide}).run()
		}
	})
	r.took = time.Since(began)
	return r
}

// A tally counts exchanges, for the report.
type tally struct {
	mu    sync.Mutex // guards what follows
	found map[string]map[string]int
}

func (x *tally) add(protocol, category string, n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.found == nil {
		x.found = map[string]map[string]int{}
	}
	if x.found[category] == nil {
		x.found[category] = map[string]int{}
	}
	x.found[category][protocol] += n
	x.found[category]["cases"]++
}

// table is the count per category and protocol.
func (x *tally) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "exchanges, the direct ones included\n%-12s", "")
	for _, p := range allProtocols {
		fmt.Fprintf(&b, "%8s", p)
	}
	sums := map[string]int{}
	for _, category := range append(slices.Clone(categories), "generated") {
		fmt.Fprintf(&b, "\n%-12s", category)
		for _, p := range allProtocols {
			n := x.found[category][p]
			sums[p] += n
			fmt.Fprintf(&b, "%8d", n)
		}
	}
	fmt.Fprintf(&b, "\n%-12s", "all")
	for _, p := range allProtocols {
		fmt.Fprintf(&b, "%8d", sums[p])
	}
	return b.String()
}
