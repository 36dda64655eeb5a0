package middleware

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/config"
)

func limited(t *testing.T, rate string, now *time.Time) (*limits, func(path string, fields ...string) *httptest.ResponseRecorder) {
	t.Helper()
	l, err := newLimits(config.Component{Metadata: map[string]string{"maxRequestsPerSecond": rate}})
	if err != nil {
		t.Fatal(err)
	}
	l.clock = func() time.Time { return *now }
	h := l.handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	return l, func(path string, fields ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
}

func TestEachClientHasItsRateForEachPath(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	_, ask := limited(t, "2", &now)
	for i, want := range []int{204, 204, 429} {
		w := ask("/a")
		if w.Code != want || w.Header().Get("X-Rate-Limit-Limit") != "2.00" || w.Header().Get("Ratelimit-Remaining") != strconv.Itoa(max(0, 1-i)) {
			t.Errorf("request %d: %d, want %d; %v", i, w.Code, want, w.Header())
		}
		if want == 429 && w.Body.String() != "You have reached maximum request limit." {
			t.Errorf("%q", w.Body)
		}
	}
	for about, code := range map[string]int{
		"another path":   ask("/b").Code,
		"another client": ask("/a", "X-Forwarded-For", "1.1.1.1, 2.2.2.2").Code,
		"a third one":    ask("/a", "X-Real-Ip", "3.3.3.3").Code,
	} {
		if code != 204 {
			t.Errorf("%s: %d", about, code)
		}
	}
	now = now.Add(500 * time.Millisecond)
	if first, second := ask("/a").Code, ask("/a").Code; first != 204 || second != 429 {
		t.Errorf("half a second later: %d, %d", first, second)
	}
}

// Clients and paths are remembered within a bound.
func TestStrangersAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l, ask := limited(t, "1", &now)
	for i := range maxBuckets + 10 {
		ask("/" + strconv.Itoa(i))
	}
	if n := len(l.buckets); n > maxBuckets {
		t.Errorf("%d buckets", n)
	}
	now = now.Add(time.Hour)
	for i := range maxBuckets {
		ask("/again/" + strconv.Itoa(i))
	}
	if n := len(l.buckets); n > maxBuckets {
		t.Errorf("%d buckets", n)
	}
}
