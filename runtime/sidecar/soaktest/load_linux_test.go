package soaktest_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// A load is workers that call through one sidecar's doors.
type load struct {
	t          *testing.T
	http, grpc string // the doors
	ids        atomic.Int64

	mu       sync.Mutex // guards what follows
	total    map[string]int
	mistakes int
}

// What became of a call, beside the reasons of our own errors.
const (
	well   = "ok"
	broken = "broken off" // in the middle of its answer
)

// enough is how many mistakes are told.
const enough = 20

// count notes what became of a call.
func (l *load) count(kind, outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total[kind+": "+outcome]++
}

// wrong notes that something happened that must not.
func (l *load) wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mistakes++; l.mistakes <= enough {
		l.t.Errorf(format, args...)
	}
}

// report says how many calls of each kind there were, and their outcomes.
func (l *load) report() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	sum := 0
	for _, what := range slices.Sorted(maps.Keys(l.total)) {
		fmt.Fprintf(&b, "\n  %-50s %7d", what, l.total[what])
		sum += l.total[what]
	}
	return fmt.Sprintf("%d calls%s", sum, b.String())
}

// A target is a callee, in both of its protocols.
type target struct {
	page, service string
	stays         bool // it is never restarted, so that no call to it may fail
}

// A worker makes one call after the other, with connections of its own.
type worker struct {
	*load
	chance *rand.Rand
	client *http.Client
	conn   *grpc.ClientConn
}

// work begins workers; they make calls of every kind until the function it
// returns is called, but no less than laps of each. It returns when the workers
// have ended and their clients are closed.
func (l *load) work(workers, laps int, targets []target) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			w, closeClients := l.worker(i)
			defer closeClients()
			for lap := 0; ; lap++ {
				w.lap(targets)
				select {
				case <-done:
					if lap+1 >= laps {
						return
					}
				default:
				}
			}
		})
	}
	return func() { close(done); all.Wait() }
}

func (l *load) worker(seed int) (w *worker, closeClients func()) {
	conn, err := grpc.NewClient("passthrough:///"+l.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry()) // what is repeated is ours to say
	if err != nil {
		l.t.Error(err)
		return nil, func() {}
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true}
	w = &worker{
		load: l, chance: rand.New(rand.NewPCG(uint64(seed), 1)),
		client: &http.Client{Transport: transport}, conn: conn,
	}
	return w, func() {
		transport.CloseIdleConnections()
		_ = conn.Close() // its calls are over
	}
}

// A call is one of a kind, to one target.
type call struct {
	kind   string
	id     string
	target target
}

// kinds are all of them.
var kinds = map[string]func(*worker, call) string{
	"small POST":              (*worker).post,
	"GET of 10 KB":            (*worker).get,
	"upload of 1 MB":          (*worker).upload,
	"chunked upload of 1 MB":  (*worker).uploadChunked,
	"download of 1 MB":        (*worker).download,
	"events, left":            (*worker).events,
	"WebSocket":               (*worker).socket,
	"WebSocket, dropped":      (*worker).socketDropped,
	"chunked upload, cut":     (*worker).uploadCut,
	"client resets at once":   (*worker).vanishAtOnce,
	"client resets in answer": (*worker).vanishInAnswer,
	"timeout":                 (*worker).timeout,
	"no such app":             (*worker).nobody,
	"no such path":            (*worker).nowhere,
	"gRPC, unary":             (*worker).unary,
	"gRPC, bidi":              (*worker).bidi,
	"gRPC, bidi, left":        (*worker).bidiLeft,
	"gRPC, deadline":          (*worker).deadline,
}

// lap makes one call of every kind to one target each, in any order.
func (w *worker) lap(targets []target) {
	names := slices.Sorted(maps.Keys(kinds))
	w.chance.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, kind := range names {
		c := call{kind, fmt.Sprintf("call-%08d", w.ids.Add(1)), targets[w.chance.IntN(len(targets))]}
		outcome := kinds[kind](w, c)
		if outcome != well && c.target.stays {
			w.wrong("%s %s to %s, which was there all the time: %s", kind, c.id, c.target.page, outcome)
		}
		w.count(kind, outcome)
	}
}
