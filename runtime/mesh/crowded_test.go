package mesh_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A call whose reader has consumed less than is worth a frame of its own must
// not wait for ever when others have meanwhile taken what was left of the link.
func TestACrowdedLinkGivesBackWhatIsLittle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const little = 60 << 10
	taken, release := make(chan struct{}), make(chan struct{})
	s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Path == "/stalled" {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return answer(200, ""), nil
		}
		if _, err := io.CopyN(io.Discard, c.Body, little); err != nil {
			return nil, err
		}
		close(taken)
		n, err := io.Copy(io.Discard, c.Body)
		if n != 1<<20 {
			return nil, errors.Join(err, errors.New("bytes are missing"))
		}
		return answer(200, "done"), err
	})
	tr := w.transport()
	body, write := newPipe()
	done := make(chan string, 1)
	go func() {
		c := call("")
		c.Body, c.Length = body, -1
		a, err := tr.Send(t.Context(), s.at, w.callee.ID(), c)
		if err != nil {
			done <- err.Error()
			return
		}
		got, _ := io.ReadAll(a.Body)
		_ = a.Body.Close()
		done <- string(got)
	}()
	_, _ = write.Write(make([]byte, little))
	within(t, "the first bytes", taken)
	const stalled = 60
	over := make(chan error, stalled)
	for range stalled {
		go func() {
			c := call(string(make([]byte, 256<<10)))
			c.Path = "/stalled"
			a, err := tr.Send(t.Context(), s.at, w.callee.ID(), c)
			if err == nil {
				err = a.Body.Close()
			}
			over <- err
		}()
	}
	until(t, "the others are there", func() bool { return s.Inflight() == stalled+1 })
	go func() {
		_, _ = write.Write(make([]byte, 1<<20))
		_ = write.Close()
	}()
	if got := within(t, "the call that reads", done); got != "done" {
		t.Errorf("got %q", got)
	}
	close(release)
	for range stalled {
		if err := within(t, "the others", over); err != nil {
			t.Error(err)
		}
	}
}
