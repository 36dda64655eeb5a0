package app

import (
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A handover is one attempt to give a call to the app, and all that it needs:
// a call costs one allocation here.
type handover struct {
	app      *App
	call     *invoke.Call
	token    string
	ticket   ticket
	began    time.Time
	held     time.Duration
	sent     time.Time // when it was handed on; zero before
	touched  atomic.Bool
	seen     bool // the app may have seen it on a connection before
	exchange exchange
	answer   invoke.Answer
}

// wrote notes that the first byte has been written.
func (h *handover) wrote() {
	h.touched.Store(true)
	if h.call.Reached != nil {
		h.call.Reached()
	}
	h.app.gate.pass(&h.ticket)
}

// ended is called once, when the answer's body has ended. It is not called if
// there is no answer.
func (h *handover) ended() {
	h.app.slots.release()
	h.app.open.Add(-1)
}

// reply is the Answer that begins with head.
func (h *handover) reply(head answerHead) *invoke.Answer {
	h.answer = invoke.Answer{Status: head.status, Phrase: head.phrase, Major: 1, Fields: head.fields}
	return &h.answer
}

// repeatable reports whether the method may be carried out twice and there is no
// body that has been used up.
func (h *handover) repeatable() bool {
	return h.call.Body == nil && h.call.Upgrade == "" && h.call.Idempotent()
}
