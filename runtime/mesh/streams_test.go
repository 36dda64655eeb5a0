package mesh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestAHundredCallsAtOnceAreNotMixed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	tr := w.transport()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			want := pattern(1+i*3001, i)
			c := call("")
			c.Body, c.Length = invoke.BytesBody(want), int64(len(want))
			a, err := tr.Send(t.Context(), s.at, w.callee.ID(), c)
			if err != nil {
				t.Errorf("call %d: %v", i, err)
				return
			}
			got, err := io.ReadAll(a.Body)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("call %d: %d bytes, %v; want %d", i, len(got), err, len(want))
			}
		})
	}
	wg.Wait()
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

func TestBothDirectionsFlowAtOnceAndTheFirstByteDoesNotWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	body, write := newPipe()
	c := call("")
	c.Body, c.Length = body, -1
	a := w.send(w.transport(), s.at, c)
	for i := range 20 {
		word := fmt.Sprintf("word %d", i)
		if _, err := io.WriteString(write, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(a.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v; want %q", got, err, word)
		}
	}
	_ = write.Close()
	if rest, err := io.ReadAll(a.Body); len(rest) > 0 || err != nil {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

func TestAGibibyteEachWayTakesNoMemory(t *testing.T) {
	// Not parallel: it measures the heap.
	size := int64(1 << 30)
	if testing.Short() || raceEnabled {
		size = 64 << 20
	}
	w := newWorld(t)
	s := w.serve(echo)
	c := call("")
	c.Body, c.Length = &patternBody{n: size}, size
	before := heap()
	a := w.send(w.transport(), s.at, c)
	var most atomic.Uint64
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				most.Store(max(most.Load(), heap()))
			}
		}
	}()
	err := checkPattern(a.Body, size)
	close(done)
	if err != nil {
		t.Fatal(err)
	}
	if grown := int64(most.Load()) - int64(before); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func TestAReaderThatStopsHoldsBackItsOwnCallOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const endless, stalled = 1 << 40, 900
	var written atomic.Int64
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Path == "/endless" {
			return &invoke.Answer{Status: 200, Major: 1, Length: -1, Body: &tallyBody{&patternBody{n: endless}, &written}}, nil
		}
		return echo(t.Context(), c)
	})
	tr := w.transport()
	var stuck []*invoke.Answer
	for range stalled {
		c := get()
		c.Path = "/endless"
		stuck = append(stuck, w.send(tr, s.at, c))
	}
	// What was sent stands still: each call has its share and no more.
	last := int64(-1)
	until(t, "the callee stops writing", func() bool {
		now := written.Load()
		still := now == last && now > 0
		last = now
		time.Sleep(20 * time.Millisecond)
		return still
	})
	if limit := int64(4<<20 + stalled*16<<10); last > limit {
		t.Errorf("%d bytes are held, the limit is %d", last, limit)
	}
	for i := range 20 {
		want := pattern(100_000, i)
		c := call("")
		c.Body, c.Length = invoke.BytesBody(want), int64(len(want))
		if got := w.roundTrip(tr, s.at, c); got != string(want) {
			t.Fatalf("call %d beside the stuck ones is not whole", i)
		}
	}
	for n, a := range stuck {
		if n%100 > 0 {
			_ = a.Body.Close()
			continue
		}
		// They go on when they are read.
		got := make([]byte, 300_000)
		if _, err := io.ReadFull(a.Body, got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != patternAt(int64(i)) {
				t.Fatalf("byte %d is another", i)
			}
		}
		_ = a.Body.Close()
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

// A tallyBody counts what is read of it.
type tallyBody struct {
	*patternBody
	n *atomic.Int64
}

func (b *tallyBody) Read(p []byte) (int, error) {
	n, err := b.patternBody.Read(p)
	b.n.Add(int64(n))
	return n, err
}

func TestAnAnswerGivenUpIsCancelledAtTheCallee(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended := make(chan error, 1)
	s := w.serve(func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		body, write := newPipe()
		go func() {
			_, _ = write.Write([]byte("first"))
			<-ctx.Done()
			_ = write.CloseWithError(context.Cause(ctx))
			ended <- context.Cause(ctx)
		}()
		return &invoke.Answer{Status: 200, Major: 1, Length: -1, Body: body}, nil
	})
	tr := w.transport()
	for name, giveUp := range map[string]func(*invoke.Answer, context.CancelFunc){
		"by closing it":      func(a *invoke.Answer, _ context.CancelFunc) { _ = a.Body.Close() },
		"by ending its call": func(_ *invoke.Answer, cancel context.CancelFunc) { cancel() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		a, err := tr.Send(ctx, s.at, w.callee.ID(), get())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a.Body, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		giveUp(a, cancel)
		_ = within(t, "the callee's end "+name, ended) // any cause will do
		if _, err := a.Body.Read(make([]byte, 1)); !apperr.Is(err, apperr.Cancelled) {
			t.Errorf("%s: Read = %v", name, err)
		}
		_ = a.Body.Close()
		cancel()
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

func TestABodyThatBreaksEndsTheCallOnBothSides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entered, ended := make(chan struct{}), make(chan error, 1)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		close(entered)
		_, err := io.ReadAll(c.Body)
		ended <- err
		return nil, apperr.From(err)
	})
	body, write := newPipe()
	go func() {
		_, _ = write.Write([]byte("part"))
		<-entered
		_ = write.CloseWithError(errors.New("the client went away"))
	}()
	c := call("")
	c.Body, c.Length = body, -1
	wants(t, w.fails(w.transport(), s.at, c), apperr.Cancelled, apperr.ReachedMaybe, "ended early")
	if err := within(t, "the callee's end", ended); err == nil {
		t.Error("the callee took half a body for a whole one")
	}
}

func TestAnEarlyAnswerStopsTheBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		_ = c.Body.Close()
		return answer(413, "too much"), nil
	})
	tr := w.transport()
	for range 5 {
		body := &countingBody{Body: &patternBody{n: 1 << 40}}
		c := call("")
		c.Body, c.Length = body, -1
		if got := w.roundTrip(tr, s.at, c); got != "too much" {
			t.Errorf("answer %q", got)
		}
		until(t, "the body is closed", body.closed.Load)
	}
	// What was on its way when the answer came has been given back.
	want := pattern(6<<20, 1)
	c := call("")
	c.Path = "/m"
	c.Body, c.Length = invoke.BytesBody(want), int64(len(want))
	if got := w.roundTrip(tr, s.at, c); got != "too much" {
		t.Errorf("answer %q", got)
	}
}

func TestAnUpgradeIsATunnelWithTwoEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Upgrade != "chat/2" || c.Body != nil {
			t.Errorf("upgrade %q, body %v", c.Upgrade, c.Body)
		}
		body, write := newPipe()
		return &invoke.Answer{
			Status: 101, Major: 1, Length: -1, Body: body,
			Fields: invoke.Fields{{Name: "Upgrade", Value: "chat/2"}}, Upgraded: &appHalf{write},
		}, nil
	})
	tr := w.transport()
	c := get()
	c.Upgrade = "chat/2"
	a := w.send(tr, s.at, c)
	if a.Status != 101 || a.Upgraded == nil {
		t.Fatalf("answer %d, upgraded %v", a.Status, a.Upgraded)
	}
	big := pattern(2<<20, 7)
	go func() {
		_, _ = a.Upgraded.Write([]byte("ping"))
		_, _ = a.Upgraded.Write(big)
		_ = a.Upgraded.CloseWrite()
	}()
	// The app answers each byte, and goes on after our end.
	got, err := io.ReadAll(a.Body)
	want := append(append([]byte("ping"), big...), "bye"...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
	}
	_ = a.Body.Close()
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

// An appHalf echoes what the client sends, and says bye at its end.
type appHalf struct{ w *io.PipeWriter }

func (h *appHalf) Write(p []byte) (int, error) { return h.w.Write(p) }

func (h *appHalf) CloseWrite() error {
	_, err := h.w.Write([]byte("bye"))
	_ = h.w.Close()
	return err
}

func TestTheAppMayEndItsHalfOfATunnelFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heard := make(chan string, 1)
	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		return &invoke.Answer{Status: 101, Major: 1, Length: -1, Body: invoke.BytesBody([]byte("over")), Upgraded: &listener{heard: heard}}, nil
	})
	c := get()
	c.Upgrade = "x"
	a := w.send(w.transport(), s.at, c)
	if got, err := io.ReadAll(a.Body); string(got) != "over" || err != nil {
		t.Fatalf("app's half: %q, %v", got, err)
	}
	if _, err := a.Upgraded.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	if err := a.Upgraded.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	if got := within(t, "the client's half", heard); got != "still here" {
		t.Errorf("the app heard %q", got)
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

type listener struct {
	buf   bytes.Buffer
	heard chan string
}

func (l *listener) Write(p []byte) (int, error) { return l.buf.Write(p) }

func (l *listener) CloseWrite() error {
	l.heard <- l.buf.String()
	return nil
}

func TestClosingATunnelEndsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended := make(chan struct{})
	s := w.serve(func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		body, write := newPipe()
		context.AfterFunc(ctx, func() {
			_ = write.CloseWithError(context.Cause(ctx))
			close(ended)
		})
		return &invoke.Answer{Status: 101, Major: 1, Length: -1, Body: body, Upgraded: &appHalf{write}}, nil
	})
	c := get()
	c.Upgrade = "x"
	a := w.send(w.transport(), s.at, c)
	_ = a.Body.Close()
	within(t, "the callee's end", ended)
	if _, err := a.Upgraded.Write([]byte("x")); err == nil {
		t.Error("a closed tunnel takes bytes")
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

func TestTheThousandAndFirstCallGetsASecondLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		<-release
		return answer(200, ""), nil
	})
	tr := w.transport()
	const n = 1001
	errs := make(chan error, n)
	for range n {
		go func() {
			a, err := tr.Send(t.Context(), s.at, w.callee.ID(), get())
			if err == nil {
				err = a.Body.Close()
			}
			errs <- err
		}()
	}
	until(t, "all calls are there", func() bool { return s.Inflight() == n })
	close(release)
	for range n {
		if err := within(t, "the end of a stream", errs); err != nil {
			t.Error(err)
		}
	}
}
