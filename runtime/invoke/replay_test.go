package invoke_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A slow client: the first attempt is refused while its body is being read.
func TestARefusalEndsTheReadOfABodyThatHasNotCome(t *testing.T) {
	t.Parallel()
	source, client := io.Pipe()
	ended := make(chan error, 1)
	i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		if c.Attempt == 1 {
			first := make([]byte, 5)
			if _, err := io.ReadFull(c.Body, first); string(first) != "first" || err != nil {
				t.Errorf("first attempt read %q, %v", first, err)
			}
			go func() { // as a mesh pumps
				_, err := c.Body.Read(first)
				ended <- err
			}()
			return nil, refusal(apperr.Refused, apperr.ReachedNo)
		}
		if err := <-ended; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the first attempt's read ended with %v", err)
		}
		go func() {
			_, _ = io.WriteString(client, " second")
			_ = client.Close()
		}()
		data, err := io.ReadAll(c.Body)
		if string(data) != "first second" || err != nil {
			t.Errorf("second attempt read %q, %v", data, err)
		}
		if got := c.Body.Trailers().Get("X-Sum"); got != "1" || c.Body.Trailers().Has("pillion-x") {
			t.Errorf("trailers %v", c.Body.Trailers())
		}
		return ok(to.Instance)
	}))
	go func() { _, _ = io.WriteString(client, "first") }()
	c := call("")
	c.Length = -1
	c.Body = invoke.NewBody(source, func() invoke.Fields { return invoke.Fields{{"X-Sum", "1"}, {"Pillion-X", "1"}} })
	serve(t, i, c)
}

// The answer comes while the request still streams; closing it ends that.
func TestClosingTheAnswerClosesTheRequest(t *testing.T) {
	t.Parallel()
	source, client := io.Pipe()
	var body invoke.Body
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		body = c.Body
		return ok(to.Instance)
	}))
	c := call("")
	c.Body, c.Length = invoke.NewBody(source, nil), -1
	answer := serve(t, i, c)
	for _, piece := range []string{"one", "two"} { // both directions are open
		go func() { _, _ = io.WriteString(client, piece) }()
		got := make([]byte, 3)
		if _, err := io.ReadFull(body, got); string(got) != piece || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	_ = answer.Body.Close()
	if _, err := io.WriteString(client, "x"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the request is still open: %v", err)
	}
	if _, err := body.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read of a closed body: %v", err)
	}
}

// Expect: 100-continue is answered by the first read, so nobody may read ahead.
func TestABodyIsNotReadBeforeItIsWanted(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	var once sync.Once
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		select {
		case <-read:
			t.Error("read before it was wanted")
		case <-time.After(10 * time.Millisecond): // a read would have begun; nothing waits for this
		}
		if data, err := io.ReadAll(c.Body); string(data) != "body" || err != nil {
			t.Errorf("read %q, %v", data, err)
		}
		return ok(to.Instance)
	}))
	c := call("")
	c.Expect, c.Length = true, 4
	c.Body = invoke.NewBody(io.NopCloser(io.MultiReader(readerFunc(func([]byte) (int, error) {
		once.Do(func() { close(read) })
		return 0, io.EOF
	}), strings.NewReader("body"))), nil)
	serve(t, i, c)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Large bodies pass whole, whatever the sizes of reads and writes are.
func TestBodiesOfAnySizePassUnchanged(t *testing.T) {
	t.Parallel()
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		return &invoke.Answer{Status: 200, Body: c.Body, Length: -1}, nil
	}))
	var all sync.WaitGroup
	for _, size := range []int{1, 100, 4 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3 << 20} {
		for _, length := range []int64{int64(size), -1} {
			all.Go(func() {
				want := strings.Repeat(fmt.Sprintf("%d;", size), size)[:size]
				c := call(want)
				c.Length = length
				answer, err := i.Serve(t.Context(), c)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(answer.Body)
				if string(got) != want || err != nil {
					t.Errorf("size %d, length %d: %d bytes, %v", size, length, len(got), err)
				}
				_ = answer.Body.Close()
			})
		}
	}
	all.Wait()
}

// Half a thousand uploads at once outgrow what a process keeps: they go on,
// and only lose the second attempt.
func TestBeyondTheProcessesBudgetBodiesStillPass(t *testing.T) {
	t.Parallel()
	const calls = 500
	var full sync.WaitGroup
	full.Add(calls)
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		if _, err := io.CopyN(io.Discard, c.Body, 60<<10); err != nil {
			t.Error(err)
		}
		full.Done()
		full.Wait()
		n, err := io.Copy(io.Discard, c.Body)
		if n != 4<<10 || err != nil {
			t.Errorf("the rest: %d, %v", n, err)
		}
		return ok("a")
	}))
	data := []byte(strings.Repeat("x", 64<<10))
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			c := call("")
			c.Body, c.Length = invoke.BytesBody(data), int64(len(data))
			answer, err := i.Serve(t.Context(), c)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
		})
	}
	all.Wait()
}
