package invoke

import (
	"io"
	"sync/atomic"
	"time"
)

// answerBody ends what a call holds when its answer is closed.
type answerBody struct {
	Body
	timing *Timing
	began  time.Time
	end    func()
	closed atomic.Bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err == io.EOF && b.timing != nil { //nolint:errorlint // an error that wraps EOF is no end
		b.timing.Body = time.Since(b.began)
	}
	return n, err
}

// Close closes the app's body before the call's own, so that a peer still
// reading it learns that the call is over.
func (b *answerBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	err := b.Body.Close()
	b.end()
	return err
}

func (b *answerBody) Trailers() Fields { return cleanTrailers(b.Body.Trailers()) }
