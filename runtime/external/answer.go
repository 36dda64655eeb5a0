package external

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// answer is resp as the call's answer.
func (x *exchange) answer(resp *http.Response) *invoke.Answer {
	a := &invoke.Answer{
		Status: resp.StatusCode, Phrase: phrase(resp), Major: resp.ProtoMajor,
		Fields: fieldsOf(resp.Header, resp.Trailer), Length: length(resp), Attempts: 1,
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if tunnel, ok := resp.Body.(io.ReadWriteCloser); ok {
			a.Upgraded = half{tunnel}
		}
	}
	a.Body = invoke.NewBody(resp.Body, func() invoke.Fields { return fieldsOf(resp.Trailer, nil) })
	return a
}

// phrase is the reason phrase, where it is not the usual one.
func phrase(resp *http.Response) string {
	if resp.ProtoMajor != 1 {
		return ""
	}
	_, text, _ := strings.Cut(resp.Status, " ")
	switch text {
	case http.StatusText(resp.StatusCode):
		return ""
	case "":
		return invoke.EmptyPhrase
	}
	return text
}

// length is the one that was given, also where there is no body.
func length(resp *http.Response) int64 {
	if resp.StatusCode != http.StatusNotModified {
		return resp.ContentLength
	}
	if n, err := strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		return n
	}
	return -1
}

// half is the sending direction of a tunnel.
type half struct{ io.ReadWriteCloser }

// CloseWrite implements invoke.WriteHalf.
func (h half) CloseWrite() error {
	if c, ok := h.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// discard reads what little may be left of an answer that nobody wants, so that
// its connection can be used again.
func discard(resp *http.Response) {
	const little = 2 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, little) // the connection is given up instead
	_ = resp.Body.Close()
}

// measure fills timing. net/http tells it from several goroutines, one after
// the other; a dial that another call uses in the end may be told late, so what
// comes after the connection was had does not count.
func (x *exchange) measure(t *httptrace.ClientTrace, timing *invoke.Timing) {
	var steps steps
	t.ConnectStart = func(string, string) { steps.begin(&steps.dialled) }
	t.ConnectDone = func(string, string, error) { steps.end(&steps.dialled) }
	t.TLSHandshakeStart = func() { steps.begin(&steps.secured) }
	t.TLSHandshakeDone = func(tls.ConnectionState, error) { steps.end(&steps.secured) }
	got := t.GotConn
	t.GotConn = func(info httptrace.GotConnInfo) {
		got(info)
		timing.Connect, timing.TLS = steps.tookUnless(info.Reused)
		x.sent = time.Now()
	}
	t.GotFirstResponseByte = func() { timing.App = time.Since(x.sent) }
}
