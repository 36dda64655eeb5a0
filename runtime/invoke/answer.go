package invoke

import (
	"io"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// answerBody is the body of the answer to a call: its Close ends what the call
// holds. The zero Timing pointer measures nothing.
type answerBody struct {
	Body
	call *attempts
	// began is when the head came, since the call began.
	began  time.Duration
	timing *Timing
	late   bool // its end says how the instance did
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err != nil {
		b.ended(err)
	}
	return n, err
}

func (b *answerBody) ended(err error) {
	if err != io.EOF { //nolint:errorlint // an error that wraps EOF is no end
		b.late = false
		v := unsaid
		if broke := apperr.From(err); broke.Reason != apperr.DeadlineExceeded { // else it answered as long as it was to
			v = verdictOf(broke)
		}
		b.call.rule(v, "an answer broke off")
		return
	}
	if b.timing != nil {
		b.timing.Body = time.Since(b.call.progress.began) - b.began
	}
	b.complete(b.Body.Trailers)
}

// complete is called when all of the answer is there.
func (b *answerBody) complete(trailers func() Fields) {
	if b.late {
		b.late = false
		b.call.ruleStatus(trailers().Get(fieldGRPCStatus))
	}
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

func (b *answerBody) Whole() ([]byte, bool) {
	rest, ok := Whole(b.Body)
	if ok {
		b.complete(b.Body.Trailers)
	}
	return rest, ok
}

func (b *answerBody) Complete() ([]byte, Fields, bool) {
	rest, trailers, ok := Complete(b.Body)
	if ok {
		b.complete(func() Fields { return trailers })
	}
	return rest, cleanTrailers(trailers), ok
}
