//go:build unix

package sidecar_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
)

// A counted app answers with the status in its path, /<status>/<name>, or never
// to /never, and counts by path what it got.
type countedApp struct {
	mu    sync.Mutex // guards what follows
	calls map[string]int
	body  map[string]string
}

func newCountedApp(t *testing.T) (*countedApp, uint16) {
	t.Helper()
	a := &countedApp{calls: map[string]int{}, body: map[string]string{}}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(at.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return a, uint16(n)
}

func (a *countedApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.calls[r.URL.Path]++
	a.body[r.URL.Path] += string(data)
	n := a.calls[r.URL.Path]
	a.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/never"):
		<-r.Context().Done()
	case strings.HasPrefix(r.URL.Path, "/third") && n < 3:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		status, err := strconv.Atoi(strings.Split(r.URL.Path, "/")[1])
		if err != nil {
			status = http.StatusOK
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "answer "+strconv.Itoa(n))
	}
}

func (a *countedApp) got(path string) (int, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[path], a.body[path]
}

const policies = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: mine
spec:
  policies:
    timeouts:
      short: 1m
      broken: soon
    retries:
      twice:
        policy: constant
        duration: 10
        maxRetries: 2
        matching:
          httpStatusCodes: 429,500-599
    circuitBreakers:
      fuse:
        maxRequests: 1
        timeout: 1h
        trip: consecutiveFailures >= 7
  targets:
    apps:
      callee:
        timeout: short
        retry: twice
        circuitBreaker: fuse
    components:
      statestor: {outbound: {retry: twice}}
      somebodys: {outbound: {retry: twice}}
`

// Policies in front of a real app, with exact counts.
func TestPoliciesOfAnApp(t *testing.T) {
	t.Parallel()
	app, port := newCountedApp(t)
	file := filepath.Join(t.TempDir(), "resiliency.yaml")
	put(t, file, policies)
	p := newPlace(t)
	callee := p.start("", config.Sidecar{AppID: "callee", AppPort: port})
	callee.awaitNotice("is ready")
	caller := p.start("", config.Sidecar{AppID: "caller", LogLevel: "info", ResourcesPaths: []string{file}})
	caller.awaitNotice("sidecar is up")
	caller.awaitSaid("Could not read resiliency policy broken: " + file + ":9: timeout:")
	caller.awaitSaid(file + ":29: the policies of component statestor have no effect: this app has none called so, did you mean statestore?")
	door := p.door("caller")
	call := func(path string) (int, string, http.Header) {
		return get(t, door, "/v1.0/invoke/callee/method"+path)
	}
	for _, c := range []struct {
		path         string
		status, want int
		text         string
	}{
		{"/200/a", 200, 1, "answer 1"},
		{"/301/a", 301, 1, "answer 1"},
		{"/404/a", 404, 1, "answer 1"},
		{"/429/a", 429, 3, "answer 3"},
		{"/500/a", 500, 3, "answer 3"},
		{"/third", 200, 3, "answer 3"},
	} {
		status, text, head := call(c.path)
		n, _ := app.got(c.path)
		said := ""
		if c.want > 1 {
			said = strconv.Itoa(c.want)
		}
		if status != c.status || text != c.text || n != c.want || head.Get("Pillion-Attempts") != said {
			t.Errorf("%s: %d %q, %d calls, said %q; want %d %q, %d", c.path, status, text, n, head.Get("Pillion-Attempts"), c.status, c.text, c.want)
		}
	}
	// Two more series of three open the breaker of this method at the seventh
	// attempt; the other methods go on.
	if status, text, _ := call("/500/a"); status != 500 || text != "answer 6" {
		t.Errorf("second series: %d %s", status, text)
	}
	if status, text, head := call("/500/a"); status != 500 || !strings.Contains(text, "err: circuit breaker is open") ||
		!strings.Contains(text, file+":18") || head.Get("Pillion-Error") != "CIRCUIT_OPEN" {
		t.Errorf("third series: %d %s", status, text)
	}
	if _, text, _ := call("/500/a"); !strings.Contains(text, "err: circuit breaker is open") {
		t.Errorf("after it: %s", text)
	}
	if n, _ := app.got("/500/a"); n != 7 {
		t.Errorf("the app got %d calls, want 7", n)
	}
	if status, _, _ := call("/200/b"); status != 200 {
		t.Errorf("another method: %d", status)
	}
	if _, text, _ := get(t, door, "/v1.0/metadata"); !strings.Contains(text, `"resiliencies":[{"name":"mine"}]`) {
		t.Errorf("metadata: %s", text)
	}
	for _, line := range []string{
		"Error processing operation endpoint[callee, callee:third]. Retrying in 10ms…",
		"Recovered processing operation endpoint[callee, callee:third] after 3 attempts",
		`Circuit breaker "callee:500/a" changed state from closed to open`,
	} {
		caller.awaitSaid(line)
	}
	// A POST is repeated as it is written, with its body.
	answer, err := http.Post("http://127.0.0.1:"+strconv.Itoa(int(door))+"/v1.0/invoke/callee/method/503/post", "text/plain", strings.NewReader("once;"))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if n, body := app.got("/503/post"); n != 3 || body != "once;once;once;" || answer.StatusCode != 503 {
		t.Errorf("POST: %d, %d calls, %q", answer.StatusCode, n, body)
	}
	// Changed policies count at once, and breakers that are the same stay open.
	put(t, file, strings.Replace(policies, "maxRetries: 2", "maxRetries: 1", 1))
	caller.awaitSaid("resiliency mine changed")
	if status, _, _ := call("/500/c"); status != 500 {
		t.Errorf("%d", status)
	}
	if n, _ := app.got("/500/c"); n != 2 {
		t.Errorf("%d calls after the change, want 2", n)
	}
	if _, text, _ := call("/500/a"); !strings.Contains(text, "circuit breaker is open") {
		t.Errorf("the breaker has forgotten: %s", text)
	}
	put(t, file, "kind: List\n")
	caller.awaitSaid("resiliency mine removed")
	if _, text, _ := call("/500/a"); text != "answer 8" {
		t.Errorf("without policies: %s", text)
	}
}

// door is the HTTP door of a live app.
func (p *place) door(app string) uint16 {
	p.t.Helper()
	for _, e := range p.entries() {
		if e.App == app {
			return e.HTTPPort
		}
	}
	p.t.Fatalf("%s is not live", app)
	return 0
}

// A time-out names its policy and line, and says how often it was tried.
func TestATimeOutNamesItsPolicy(t *testing.T) {
	t.Parallel()
	app, port := newCountedApp(t)
	file := filepath.Join(t.TempDir(), "resiliency.yaml")
	put(t, file, strings.Replace(policies, "short: 1m", "short: 5s", 1))
	p := newPlace(t)
	p.start("", config.Sidecar{AppID: "callee", AppPort: port}).awaitNotice("is ready")
	p.start("", config.Sidecar{AppID: "caller", ResourcesPaths: []string{file}}).awaitNotice("sidecar is up")
	door := p.door("caller")
	get(t, door, "/v1.0/invoke/callee/method/200/first") // the connection is there then
	status, text, head := get(t, door, "/v1.0/invoke/callee/method/never")
	if n, _ := app.got("/never"); n != 3 || status != 500 || head.Get("Pillion-Attempts") != "3" || head.Get("Pillion-Error") != "DEADLINE_EXCEEDED" {
		t.Errorf("%d calls, %d %v", n, status, head)
	}
	for _, want := range []string{"context deadline exceeded after 5s", "in the app", `time-out \"short\" of ` + file + ":8", `"attempts":"3"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nnot in\n%s", want, text)
		}
	}
}

// One of three instances never answers: each call that it gets costs a time-out
// and has it left out, until another one tries whether it does better. Retries go
// to the others.
func TestAnInstanceThatTimesOutIsLeftOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, path := range []string{"/none", "/none", "/"} { // the third is stuck whatever it is asked
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodOptions && strings.HasPrefix(r.URL.Path, path) {
				<-r.Context().Done()
			}
		}))
		t.Cleanup(s.Close)
		at, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseUint(at.Port(), 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		p.start("", config.Sidecar{AppID: "callee", AppPort: uint16(n)}).awaitNotice("is ready")
	}
	for _, c := range []struct{ caller, retry string }{{"plain", ""}, {"patient", "        retry: twice\n"}} {
		file := filepath.Join(t.TempDir(), "resiliency.yaml")
		put(t, file, `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: mine}
spec:
  policies:
    timeouts: {short: 5s}
    retries:
      twice: {duration: 1ms, maxRetries: 2}
  targets:
    apps:
      callee:
        timeout: short
`+c.retry)
		caller := p.start("", config.Sidecar{AppID: c.caller, ResourcesPaths: []string{file}})
		caller.awaitNotice("sidecar is up")
		door, late, repeated := p.door(c.caller), 0, 0
		for range 60 {
			status, text, head := get(t, door, "/v1.0/invoke/callee/method/x")
			switch {
			case status == http.StatusInternalServerError && head.Get("Pillion-Error") == "DEADLINE_EXCEEDED":
				late++
			case status != http.StatusOK:
				t.Errorf("%d %s", status, text)
			case head.Get("Pillion-Attempts") == "2":
				repeated++
			}
		}
		out := caller.countNotices("instance left out app=callee.default instance=")
		seen, hidden := late, repeated
		if c.retry != "" {
			seen, hidden = repeated, late
		}
		if out == 0 || seen != out || hidden != 0 {
			t.Errorf("%s: it was left out %d times, with %d time-outs and %d calls repeated", c.caller, out, late, repeated)
		}
	}
}

// A target that nobody is called like is likely to be meant for who is called.
func TestPoliciesForNobodyAreWarnedOf(t *testing.T) {
	t.Parallel()
	_, port := newCountedApp(t)
	file := filepath.Join(t.TempDir(), "resiliency.yaml")
	put(t, file, `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: mine}
spec:
  policies:
    timeouts: {short: 1m}
  targets:
    apps:
      calee: {timeout: short}
      later: {timeout: short}
`)
	p := newPlace(t)
	p.start("", config.Sidecar{AppID: "callee", AppPort: port}).awaitNotice("is ready")
	caller := p.start("", config.Sidecar{AppID: "caller", ResourcesPaths: []string{file}})
	caller.awaitNotice("sidecar is up")
	for range 3 {
		if status, text, _ := get(t, p.door("caller"), "/v1.0/invoke/callee/method/200"); status != http.StatusOK {
			t.Errorf("%d %s", status, text)
		}
	}
	caller.awaitNotice(file + ":9: the policies of app calee are nobody's")
	n := 0
	for _, notice := range caller.notices() {
		if strings.Contains(notice.Text, "nobody's") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("it says %v", caller.notices())
	}
}
