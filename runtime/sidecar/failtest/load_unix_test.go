//go:build unix

package failtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// A load is calls with IDs, and what came of them.
type load struct {
	t      *testing.T
	doors  []string // of the callers' sidecars
	client *http.Client
	keys   bool     // each call has an Idempotency-Key
	verbs  []string // one of them for each call
	ids    atomic.Int64
	sent   atomic.Int64 // calls that the sidecar has
	open   atomic.Int64 // calls under way
	good   atomic.Int64
	calls  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	answered []string   // IDs
	failed   []failure
	moved    []time.Time // when calls were made that took more than one attempt
}

// A failure is a call that was not answered by an app.
type failure struct {
	id, verb     string
	began, ended time.Time
	text         string
	about        map[string]string // what an error of ours says of itself
}

func (f failure) String() string {
	return fmt.Sprintf("call %s (%s) failed: %s %v", f.id, f.verb, f.text, f.about)
}

func newLoad(t *testing.T, doors ...string) *load {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	l := &load{t: t, doors: doors, verbs: []string{"POST"}, client: &http.Client{Transport: transport, Timeout: pilliontest.Patience}}
	t.Cleanup(transport.CloseIdleConnections)
	t.Cleanup(l.calls.Wait)
	return l
}

// call makes one call and keeps what came of it. A body cannot be sent twice.
func (l *load) call(path string) {
	n := l.ids.Add(1)
	f := failure{id: strconv.FormatInt(n, 10), began: time.Now()}
	f.verb = l.verb(f.id)
	var body io.Reader
	if f.verb != "GET" {
		body = io.MultiReader(strings.NewReader(strings.Repeat("x", 1+rand.IntN(16<<10)))) // of no known length, and without GetBody
	}
	ctx := httptrace.WithClientTrace(context.WithoutCancel(l.t.Context()), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { l.sent.Add(1) },
	})
	r, err := http.NewRequestWithContext(ctx, f.verb, "http://"+l.doors[int(n)%len(l.doors)]+"/v1.0/invoke/orders/method"+path, body)
	if err != nil {
		panic(err)
	}
	r.Header.Set(idField, f.id)
	if l.keys {
		r.Header.Set(keyField, f.id)
	}
	ok, attempts := l.do(r, &f)
	f.ended = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if ok {
		l.answered = append(l.answered, f.id)
		l.good.Add(1)
		if attempts != "" {
			l.moved = append(l.moved, f.began)
		}
		return
	}
	l.failed = append(l.failed, f)
}

// verb is that of the call with an ID.
func (l *load) verb(id string) string {
	n, err := strconv.Atoi(id)
	if err != nil {
		panic(err)
	}
	return l.verbs[n%len(l.verbs)]
}

// do reports whether an app has answered, and with how many attempts if there
// were several; if not, f tells why.
func (l *load) do(r *http.Request, f *failure) (ok bool, attempts string) {
	answer, err := l.client.Do(r)
	if err != nil {
		f.text = err.Error()
		return false, ""
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or broken
	data, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode == http.StatusOK {
		return true, answer.Header.Get("Pillion-Attempts")
	}
	f.text = fmt.Sprint(answer.StatusCode, " ", string(data), " ", err)
	var e struct {
		Details []struct{ Metadata map[string]string }
	}
	_ = json.Unmarshal(data, &e) // an empty one says that it is none of ours
	if len(e.Details) > 0 {
		f.about = e.Details[0].Metadata
	}
	return false, ""
}

// fire makes calls at once.
func (l *load) fire(path string, n int) {
	for range n {
		l.open.Add(1)
		l.calls.Go(func() { defer l.open.Add(-1); l.call(path) })
	}
}

// with reports whether the sidecar has n calls that were fired, or one of them
// has ended, of which check says why.
func (l *load) with(n int64) bool { return l.sent.Load() >= n || l.open.Load() < n }

// keep makes calls until stop is called, which waits for the last ones.
func (l *load) keep(path string, workers int) (stop func()) {
	var over atomic.Bool
	for range workers {
		l.calls.Go(func() {
			for !over.Load() && !l.t.Failed() {
				l.call(path)
			}
		})
	}
	stop = func() { over.Store(true); l.calls.Wait() }
	l.t.Cleanup(stop)
	return stop
}

// await waits for so many more good answers.
func (l *load) await(n int) {
	l.t.Helper()
	want := l.good.Load() + int64(n)
	pilliontest.Until(l.t, "calls are answered", func() bool { return l.good.Load() >= want })
}

// A span is when something died: it lived before, and not after.
type span struct{ from, to time.Time }

// check joins what callers heard with what apps wrote down. Nothing was done
// twice; what was answered was done; and a call failed only if it was under way
// when an app or its sidecar died, says that it may have arrived, and was not
// with one that lives. It returns the failures, and how many of them no app has.
func (l *load) check(record string, deaths []span) (failed, lost int) {
	l.t.Helper()
	done := recorded(l.t, record)
	for id, by := range done {
		if len(by) > 1 && (l.verb(id) != "GET" || len(deaths) == 0) { // a GET may be made again
			l.t.Errorf("call %s was done %d times, by %v", id, len(by), by)
		}
	}
	for _, id := range l.answered {
		if len(done[id]) == 0 {
			l.t.Errorf("call %s was answered and no app has it", id)
		}
	}
	for _, f := range l.failed {
		switch {
		case f.about["reached"] != "maybe":
			l.t.Errorf("it could have moved on: %v", f)
		case !f.spans(deaths):
			l.t.Errorf("nothing had died: %v", f)
		}
		if len(done[f.id]) == 0 {
			lost++
		}
	}
	l.t.Logf("%d calls, %d deaths: %d failed, %d of them handed to one that died before it had written them down",
		l.ids.Load(), len(deaths), len(l.failed), lost)
	return len(l.failed), lost
}

func (f failure) spans(deaths []span) bool {
	for _, d := range deaths {
		if f.began.Before(d.to) && f.ended.After(d.from) {
			return true
		}
	}
	return false
}

// recorded are the names of the apps that got each call.
func recorded(t *testing.T, file string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		name, id, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		got[id] = append(got[id], name)
	}
	return got
}
