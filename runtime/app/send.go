package app

import (
	"net"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// syncBody bounds the bodies that are sent before the answer is looked at. More
// than this could fill the connection while the app waits for us to read.
const syncBody = 64 << 10

// send writes the head, and with it the body if all of it is there: a small
// call is one write. Otherwise a pump sends the body. It returns how much was
// written; an error of the connection is a *lapseError.
func (x *exchange) send() (int, error) {
	call := x.handover.call
	buf := takeBuffer()
	defer giveBuffer(buf)
	out, err := appendRequest(buf[:0], x.handover, x.conn.host)
	if err != nil {
		return 0, err
	}
	body, tail, whole := wholeOf(call)
	if whole {
		out, body = join(out, body, tail, call.Length < 0)
	}
	n, err := x.write(out, body)
	if err != nil {
		return n, &lapseError{err: err, untouched: n == 0, silent: true}
	}
	switch {
	case !whole:
		x.pump = startPump(x)
	case x.conn.uses > 0 && n <= smallBuffer:
		x.sent = n // the app may have closed the connection: the body may be needed again
	default:
		closeBody(call)
	}
	return n, nil
}

// wholeOf is a call's body with its trailers, if both are there and may go with
// the head.
func wholeOf(call *invoke.Call) (body []byte, trailers invoke.Fields, whole bool) {
	if call.Body == nil {
		return nil, nil, true
	}
	if call.Expect {
		return nil, nil, false
	}
	body, trailers, whole = invoke.Complete(call.Body)
	switch {
	case len(body) > syncBody:
		return nil, nil, false
	case call.Length >= 0 && call.Length != int64(len(body)):
		return nil, nil, false // the pump says what is wrong
	default:
		return body, trailers, whole
	}
}

// join puts a body behind its head. What does not fit stays beside it.
func join(head, body []byte, trailers invoke.Fields, chunked bool) (first, second []byte) {
	const framing = 64
	fits := len(head)+len(body)+framing <= cap(head)
	if chunked {
		if len(body) > 0 {
			head = appendChunkLine(head, len(body))
			head = append(append(head, body...), "\r\n"...)
		}
		return appendLastChunk(head, trailers), nil
	}
	if fits {
		return append(head, body...), nil
	}
	return head, body
}

// write sends both parts in one go if it can be done.
func (x *exchange) write(first, second []byte) (int, error) {
	if len(second) == 0 {
		return x.conn.Write(first)
	}
	parts := net.Buffers{first, second}
	n, err := parts.WriteTo(x.conn.Conn)
	return int(n), err
}
