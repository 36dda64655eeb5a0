package mesh

import (
	"io"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// answerOf is the Answer to a call whose head has come.
func (o *outgoing) answerOf(head *answerHead, to discovery.Endpoint) *invoke.Answer {
	o.body = answerBody{o: o}
	if o.call.Timing != nil {
		o.body.began = time.Now()
	}
	o.answer = invoke.Answer{
		Status: head.status, Phrase: head.phrase, Major: head.major, Fields: head.fields, Length: head.length,
		Body:     &o.body,
		Instance: o.c.greeting.instance, Peer: o.c.peer, Endpoint: to, Attempts: 1,
	}
	if head.status == 101 {
		o.answer.Upgraded = tunnelHalf{o}
	}
	return &o.answer
}

// An answerBody reads an answer. One goroutine reads; any may close.
type answerBody struct {
	o        *outgoing
	began    time.Time
	finished bool // touched by the reader only
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.o.read(p)
	if err != nil && !b.finished {
		b.finished = true
		if t := b.o.call.Timing; t != nil {
			t.Body += time.Since(b.began)
		}
		if err != io.EOF || b.o.isOver(theirs) { //nolint:errorlint // an error that wraps io.EOF is no good end
			b.o.watch.Stop()
			b.o.leave()
			b.o.closeBody()
		}
	}
	return n, err
}

func (b *answerBody) Trailers() invoke.Fields { return b.o.in.behind() }

// Close gives up what is left of the answer.
func (b *answerBody) Close() error {
	b.o.watch.Stop()
	b.o.close()
	b.o.closeBody()
	return nil
}

// Whole is the rest of the answer, if it has all come and nothing follows it.
func (b *answerBody) Whole() ([]byte, bool) {
	rest, trailers, ok := b.o.in.whole()
	return rest, ok && len(trailers) == 0
}

// Complete is the rest of the answer and what follows it, if all of it has come.
func (b *answerBody) Complete() ([]byte, invoke.Fields, bool) { return b.o.in.whole() }

var errGivenUp = &apperr.Error{Reason: apperr.Cancelled, What: "the answer was given up by its caller", Err: io.ErrClosedPipe}

// close ends the call if it is not over; a complete answer stays one.
func (o *outgoing) close() {
	if o.in.isEnded() && o.isOver(theirs) {
		o.leave()
	} else {
		o.abandon(errGivenUp)
	}
	o.giveUp(errGivenUp)
}

func (o *outgoing) closeBody() {
	if o.call.Body != nil {
		_ = o.call.Body.Close() // the call is over
	}
}

// A tunnelHalf sends the client's bytes of an upgraded connection.
type tunnelHalf struct{ o *outgoing }

func (t tunnelHalf) Write(p []byte) (int, error) {
	if err := t.o.c.sendData(&t.o.stream, p); err != nil {
		return 0, t.o.why(err)
	}
	return len(p), nil
}

func (t tunnelHalf) CloseWrite() error {
	if err := t.o.finish(nil); err != nil {
		return t.o.why(err)
	}
	if t.o.isOver(ours) {
		t.o.leave()
	}
	return nil
}

// why is the reason of a call's end where it is known, else err.
func (o *outgoing) why(err error) error {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	if o.guarded.failed != nil {
		return o.guarded.failed
	}
	return err
}
