package mtls_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

// A flaky Sentry counts what it is asked and refuses while it is down.
type flaky struct {
	sentry.Sentry
	asked atomic.Int64
	down  atomic.Bool
}

func (f *flaky) Sign(ctx context.Context, r sentry.Request) (sentry.Response, error) {
	f.asked.Add(1)
	if f.down.Load() {
		return sentry.Response{}, errors.New("the sentry is down")
	}
	return f.Sentry.Sign(ctx, r)
}

// A journal is where a Logger writes.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}

// A world is a workload that renews itself inside a bubble.
type world struct {
	clock  clock
	sentry *flaky
	w      *mtls.Workload
	log    journal
}

// bubble runs test beside the workload's Run.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var x world
		c := newCA(t, ca.Options{Now: x.clock.now})
		x.sentry = &flaky{Sentry: sentry.NewLocal(c, 0)}
		var err error
		x.w, err = mtls.NewWorkload(t.Context(), mtls.Config{
			ID: id(t, "todo-api"), Sentry: x.sentry, Now: x.clock.now,
			Logger: slog.New(slog.NewTextHandler(&x.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- x.w.Run(ctx) }()
		test(t, &x)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestRenewsAtAboutHalfLife(t *testing.T) {
	bubble(t, func(t *testing.T, x *world) {
		first := x.w.Leaf()
		changed := x.w.Changed()
		start := time.Now()
		<-changed
		if at := time.Since(start); at < 24*time.Hour*45/100 || at > 24*time.Hour*55/100 {
			t.Errorf("renewed after %v, want about 12h", at)
		}
		second := x.w.Leaf()
		if second.SerialNumber.Cmp(first.SerialNumber) == 0 || !second.NotAfter.After(first.NotAfter) {
			t.Error("the leaf is the old one")
		}
		if second.Equal(first) || string(second.RawSubjectPublicKeyInfo) == string(first.RawSubjectPublicKeyInfo) {
			t.Error("the key is the old one")
		}
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		if n := x.sentry.asked.Load(); n < 50 || n > 75 {
			t.Errorf("%d leaves in a month, want about 60", n)
		}
	})
}

func TestRenewalGoesOnThroughFailures(t *testing.T) {
	bubble(t, func(t *testing.T, x *world) {
		x.sentry.down.Store(true)
		time.Sleep(30 * time.Hour)
		synctest.Wait()
		asked := x.sentry.asked.Load()
		if asked < 16*60 || asked > 40*60 {
			t.Errorf("asked %d times in 18 hours of failure, want about once a minute", asked)
		}
		if n := x.log.count("level=WARN"); n < 10 || n > 100 {
			t.Errorf("%d warnings, want some, not one for each of %d attempts", n, asked)
		}
		if !time.Now().After(x.w.Leaf().NotAfter) {
			t.Error("the leaf is still good: the test shows nothing")
		}
		changed := x.w.Changed()
		x.sentry.down.Store(false)
		start := time.Now()
		<-changed
		if took := time.Since(start); took > time.Minute {
			t.Errorf("renewed %v after the sentry was back, want at most a minute", took)
		}
		if time.Now().After(x.w.Leaf().NotAfter) {
			t.Error("the new leaf has ended too")
		}
	})
}

// A machine that sleeps stops its timers; its wall clock jumps.
func TestSleepOfTheMachineIsNoticedWithinAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, x *world) {
		time.Sleep(time.Hour)
		changed := x.w.Changed()
		x.clock.set(72 * time.Hour)
		start := time.Now()
		<-changed
		if took := time.Since(start); took > time.Minute {
			t.Errorf("renewed %v after waking, want at most a minute", took)
		}
	})
}

func TestClockSetBackIsNoticedWithinAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, x *world) {
		time.Sleep(time.Hour)
		changed := x.w.Changed()
		x.clock.set(-10 * time.Hour)
		start := time.Now()
		<-changed
		if took := time.Since(start); took > time.Minute {
			t.Errorf("renewed %v after the clock was set back, want at most a minute", took)
		}
		if now := x.clock.now(); now.Before(x.w.Leaf().NotBefore) {
			t.Error("the new leaf is not valid yet either")
		}
	})
}

// The Sentry's answer is not believed blindly.
type answers func(ctx context.Context, r sentry.Request) (sentry.Response, error)

func (a answers) Sign(ctx context.Context, r sentry.Request) (sentry.Response, error) {
	return a(ctx, r)
}

func TestSentryThatAnswersWrongly(t *testing.T) {
	t.Parallel()
	c, other := newCA(t, ca.Options{}), newCA(t, ca.Options{})
	local := sentry.NewLocal(c, 0)
	stolen, err := local.Sign(t.Context(), sentry.Request{ID: id(t, "todo-api"), CSR: request(t)})
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]answers{
		"nothing": func(context.Context, sentry.Request) (sentry.Response, error) { return sentry.Response{}, nil },
		"for another key": func(context.Context, sentry.Request) (sentry.Response, error) {
			return stolen, nil
		},
		"for another app": func(ctx context.Context, r sentry.Request) (sentry.Response, error) {
			r.ID = id(t, "billing-service")
			return local.Sign(ctx, r)
		},
		"with roots that do not fit": func(ctx context.Context, r sentry.Request) (sentry.Response, error) {
			got, err := local.Sign(ctx, r)
			got.Roots = other.Roots()
			return got, err
		},
	} {
		if _, err := mtls.NewWorkload(t.Context(), mtls.Config{ID: id(t, "todo-api"), Sentry: answer}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := mtls.NewWorkload(t.Context(), mtls.Config{Sentry: local}); err == nil {
		t.Error("nobody got a certificate")
	}
}

func TestNewWorkloadGivesUpWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	silent := answers(func(ctx context.Context, _ sentry.Request) (sentry.Response, error) {
		cancel()
		<-ctx.Done()
		return sentry.Response{}, context.Cause(ctx)
	})
	if _, err := mtls.NewWorkload(ctx, mtls.Config{ID: id(t, "todo-api"), Sentry: silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("NewWorkload = %v, want context.Canceled", err)
	}
}
