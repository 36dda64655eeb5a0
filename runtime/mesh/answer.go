package mesh

import (
	"io"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// answer is the Answer to a call whose head has come.
func (o *outgoing) answer(head *answerHead, to discovery.Endpoint) *invoke.Answer {
	a := &invoke.Answer{
		Status: head.status, Major: head.major, Fields: head.fields, Length: head.length,
		Body:     &answerBody{o: o, began: time.Now()},
		Instance: o.c.greeting.instance, Peer: o.c.peer, Endpoint: to, Attempts: 1,
	}
	if head.status == 101 {
		a.Upgraded = tunnelHalf{o}
	}
	return a
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
			b.o.unwatch()
			b.o.leave()
			b.o.closeBody()
		}
	}
	return n, err
}

func (b *answerBody) Trailers() invoke.Fields { return b.o.in.behind() }

// Close gives up what is left of the answer.
func (b *answerBody) Close() error {
	b.o.unwatch()
	b.o.close()
	b.o.closeBody()
	return nil
}

// close ends the call if it is not over; a complete answer stays one.
func (o *outgoing) close() {
	err := &apperr.Error{Reason: apperr.Cancelled, What: "the answer was given up by its caller", Err: io.ErrClosedPipe}
	if o.in.isEnded() && o.isOver(theirs) {
		o.leave()
	} else {
		o.abandon(err)
	}
	o.drop(err)
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
	o.state.Lock()
	defer o.state.Unlock()
	if o.failed != nil {
		return o.failed
	}
	return err
}
