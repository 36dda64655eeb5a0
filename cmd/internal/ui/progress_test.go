package ui

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/human"
)

func TestWaitSaysNothingUnder300ms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, out := screen(t, 80)
		p.Live = true
		err := p.Wait(t.Context(), row, func(context.Context) error { time.Sleep(200 * time.Millisecond); return nil })
		if err != nil || out.Len() > 0 {
			t.Errorf("Wait = %v, printed %q", err, out)
		}
	})
}

func TestWaitRewritesOneRowAndErasesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, out := screen(t, 80)
		p.Live = true
		boom := errors.New("boom")
		err := p.Wait(t.Context(), row, func(context.Context) error { time.Sleep(1500 * time.Millisecond); return boom })
		if !errors.Is(err, boom) {
			t.Errorf("Wait = %v, want what the work returned", err)
		}
		want := "\r\x1b[Kpillion: waiting for worker · 0s" + "\r\x1b[Kpillion: waiting for worker · 1s" + "\r\x1b[K"
		if out.String() != want {
			t.Errorf("printed %q, want %q", out, want)
		}
	})
}

func TestWaitInAPipeIsOneLineAndOneAtTheEndIfItWasLong(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]string{
		500 * time.Millisecond: "",
		3 * time.Second:        "pillion: waiting for worker, 1s\n",
		7 * time.Second:        "pillion: waiting for worker, 1s\npillion: waiting for worker: done after 7.0s\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			var out safeBuffer
			p := NewPrinter(&out, env(nil))
			if err := p.Wait(t.Context(), row, func(context.Context) error { time.Sleep(took); return nil }); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Errorf("after %v printed %q, want %q", took, out.String(), want)
			}
		})
	}
}

func row(waited time.Duration) []string { return []string{"waiting for worker", human.Age(waited)} }

type safeBuffer struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
