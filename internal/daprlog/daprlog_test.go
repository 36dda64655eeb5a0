package daprlog_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/daprlog"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

func options(json bool) daprlog.Options {
	return daprlog.Options{AppID: "orders", Instance: "host1", Version: "1.18.0", JSON: json}
}

// record writes one record with attributes.
func record(t *testing.T, o daprlog.Options, level slog.Level, message string, attrs ...any) string {
	t.Helper()
	var out bytes.Buffer
	r := slog.NewRecord(at, level, message, 0)
	r.Add(attrs...)
	if err := daprlog.New(&out, o).Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The lines are those that Dapr's own logger (kit v0.18.1) writes for the same.
func TestRecordsLookAsDapr(t *testing.T) {
	t.Parallel()
	call := []any{
		"scope", "dapr.runtime.http-info", "code", 200, "duration", int64(3), "size", int64(42),
		"method", "GET /v1.0/invoke/cart/method/items", "useragent", "curl/8",
	}
	for name, c := range map[string]struct {
		json    bool
		level   slog.Level
		message string
		attrs   []any
		want    string
	}{
		"a call":              {false, slog.LevelInfo, "HTTP API Called", call, `time="2026-01-02T03:04:05.678901234Z" level=info msg="HTTP API Called" app_id=orders code=200 duration=3 instance=host1 method="GET /v1.0/invoke/cart/method/items" scope=dapr.runtime.http-info size=42 type=log useragent=curl/8 ver=1.18.0`},
		"a call as JSON":      {true, slog.LevelInfo, "HTTP API Called", call, `{"app_id":"orders","code":200,"duration":3,"instance":"host1","level":"info","method":"GET /v1.0/invoke/cart/method/items","msg":"HTTP API Called","scope":"dapr.runtime.http-info","size":42,"time":"2026-01-02T03:04:05.678901234Z","type":"log","useragent":"curl/8","ver":"1.18.0"}`},
		"one word":            {false, slog.LevelDebug, "ready", nil, `time="2026-01-02T03:04:05.678901234Z" level=debug msg=ready app_id=orders instance=host1 scope=dapr.runtime type=log ver=1.18.0`},
		"what must be quoted": {false, slog.LevelWarn, "a\n\"b\" \x1b[1m é", []any{"empty", "", "url", "http://x?y=z", "plain", "a-._/@^+Z9"}, `time="2026-01-02T03:04:05.678901234Z" level=warning msg="a\n\"b\" \x1b[1m é" app_id=orders empty= instance=host1 plain=a-._/@^+Z9 scope=dapr.runtime type=log url="http://x?y=z" ver=1.18.0`},
		"the same as JSON":    {true, slog.LevelWarn, "a\n\"b\" \x1b[1m <é>", []any{"ok", true}, `{"app_id":"orders","instance":"host1","level":"warning","msg":"a\n\"b\" \u001b[1m \u003cé\u003e","ok":true,"scope":"dapr.runtime","time":"2026-01-02T03:04:05.678901234Z","type":"log","ver":"1.18.0"}`},
		"the end":             {false, daprlog.LevelFatal, "x", []any{"err", errors.New("no way")}, `time="2026-01-02T03:04:05.678901234Z" level=fatal msg=x app_id=orders err="no way" instance=host1 scope=dapr.runtime type=log ver=1.18.0`},
		"an error":            {false, slog.LevelError, "x", []any{slog.Group("g", "a", 1.5)}, `time="2026-01-02T03:04:05.678901234Z" level=error msg=x app_id=orders g.a=1.5 instance=host1 scope=dapr.runtime type=log ver=1.18.0`},
		"no JSON":             {true, slog.LevelInfo, "x", []any{"n", math.Inf(1)}, `{"app_id":"orders","instance":"host1","level":"info","msg":"x","n":"+Inf","scope":"dapr.runtime","time":"2026-01-02T03:04:05.678901234Z","type":"log","ver":"1.18.0"}`},
	} {
		if got := record(t, options(c.json), c.level, c.message, c.attrs...); got != c.want+"\n" {
			t.Errorf("%s:\n%swant:\n%s", name, got, c.want)
		}
	}
}

func TestARecordBeforeTheAppIDIsKnownHasNone(t *testing.T) {
	t.Parallel()
	o := options(false)
	o.AppID = ""
	if got := record(t, o, slog.LevelInfo, "x"); strings.Contains(got, "app_id") {
		t.Errorf("%s", got)
	}
}

func TestOnlyLevelsThatWereAskedForAreWritten(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := options(false)
	o.Least = slog.LevelWarn
	log := slog.New(daprlog.New(&out, o))
	log.Info("no")
	log.Warn("yes")
	slog.New(log.Handler().(*daprlog.Handler).From(slog.LevelInfo)).Info("always")
	if got := strings.Count(out.String(), "\n"); got != 2 || !strings.Contains(out.String(), "msg=yes") || !strings.Contains(out.String(), "msg=always") {
		t.Errorf("%s", out.String())
	}
}

func TestAttributesOfALoggerAreInItsRecords(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(daprlog.New(&out, options(false))).With("scope", "dapr.contrib", "a", 1)
	log.WithGroup("g").Info("x", "b", 2)
	for _, want := range []string{" a=1 ", " g.b=2 ", " scope=dapr.contrib "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s has no %q", out.String(), want)
		}
	}
}

func TestRecordsReachBothWritersWhole(t *testing.T) {
	t.Parallel()
	var first, second bytes.Buffer // guarded by their handlers
	h := daprlog.New(&first, options(false))
	also := slog.New(h.Also(&second))
	var all sync.WaitGroup
	const each = 50
	for i := range 4 {
		all.Go(func() {
			for n := range each {
				also.Info("also", "i", i, "n", n)
				slog.New(h).Info("only the first")
			}
		})
	}
	all.Wait()
	if got := strings.Count(first.String(), "\n"); got != 8*each {
		t.Errorf("%d lines reached the first, want %d", got, 8*each)
	}
	if got := strings.Count(second.String(), "msg=also "); got != 4*each || strings.Contains(second.String(), "only") {
		t.Errorf("%d lines reached the second, want %d", got, 4*each)
	}
	for line := range strings.Lines(first.String()) {
		if !strings.HasPrefix(line, "time=") || !strings.HasSuffix(line, "ver=1.18.0\n") {
			t.Errorf("torn: %q", line)
		}
	}
}
