package invoke

import (
	"io"
	"time"
)

// answerBody is the body of the answer to a call: its Close ends what the call
// holds. The zero Timing pointer measures nothing.
type answerBody struct {
	Body
	call *attempts
	// began is when the head came, since the call began.
	began  time.Duration
	timing *Timing
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err == io.EOF && b.timing != nil { //nolint:errorlint // an error that wraps EOF is no end
		b.timing.Body = time.Since(b.call.progress.began) - b.began
	}
	return n, err
}

// Close closes the app's body before the call's own, so that a peer still
// reading it learns that the call is over.
func (b *answerBody) Close() error {
	if b.call.over.Swap(true) {
		return nil
	}
	err := b.Body.Close()
	b.call.end()
	return err
}

func (b *answerBody) Trailers() Fields { return cleanTrailers(b.Body.Trailers()) }

func (b *answerBody) Whole() ([]byte, bool) { return Whole(b.Body) }

func (b *answerBody) Complete() ([]byte, Fields, bool) {
	rest, trailers, ok := Complete(b.Body)
	return rest, cleanTrailers(trailers), ok
}
