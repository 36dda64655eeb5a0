package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// FuzzFraming holds the filter against net/http, which reads behind it: where
// net/http sees whole requests only, the filter must stand at the beginning of
// the next head too; and it must not matter how the bytes are cut.
func FuzzFraming(f *testing.F) {
	const post = "POST / HTTP/1.1\r\nHost: x\r\n"
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
		post + "Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
		post + "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: v\r\n\r\n",
		post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		post + "X: a\r\n b\r\n\r\n", post + "X: a\nY: b\r\n\r\n", post + "X: a\rb\r\n\r\n",
		post + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		post + "tRANSFER-eNCODING:chunked\r\n\r\n000\r\n\r\n", post + "Content-Length:\t3 \r\n\r\nabc",
	} {
		f.Add([]byte(seed), uint8(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		var whole, pieces framing
		passed, verdict := feedAll(&whole, data, len(data))
		again, verdict2 := feedAll(&pieces, data, int(cut)+1)
		if !bytes.Equal(passed, again) || verdict != verdict2 || whole.state != pieces.state {
			t.Fatalf("whole: %q %v, in pieces of %d: %q %v", passed, verdict, int(cut)+1, again, verdict2)
		}
		if verdict == refused || whole.state == transparent || !onlyWholeRequests(passed) {
			return
		}
		if whole.state != inHead || whole.requestLine || whole.size != 0 {
			t.Errorf("net/http is done with %q, the filter is in state %d", passed, whole.state)
		}
	})
}

// feedAll feeds data in pieces and returns what passed.
func feedAll(f *framing, data []byte, piece int) (passed []byte, v verdict) {
	for len(data) > 0 {
		n, got := f.feed(data[:min(piece, len(data))])
		passed, data = append(passed, data[:n]...), data[n:]
		if got == refused {
			return passed, refused
		}
	}
	return passed, 0
}

// onlyWholeRequests reports whether net/http reads data to its end as requests.
func onlyWholeRequests(data []byte) bool {
	r := bufio.NewReader(bytes.NewReader(data))
	for {
		if _, err := r.Peek(1); err == io.EOF {
			return true
		}
		req, err := http.ReadRequest(r)
		if err != nil {
			return false
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return false
		}
	}
}
