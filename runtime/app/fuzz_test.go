package app_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// FuzzAnswer compares our reader with net/http's on the same bytes: what we
// take must be what it takes, or be refused by one of the two.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 304\nETag: x\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n X: y\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nfffffffffffffff\r\n",
	} {
		f.Add([]byte(seed))
	}
	var answer []byte // one input at a time
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if readUntil(c, "\r\n\r\n") != "" {
				_, _ = c.Write(answer)
			}
			_ = c.Close()
		}
	}()
	f.Cleanup(func() { _ = ln.Close(); within.Receive(f, served) })
	a, _ := runApp(f, app.Config{Port: portOf(ln)})
	within.Until(f, "ready", func() bool { return a.State() == "ready" })
	f.Fuzz(func(t *testing.T, data []byte) {
		answer = data
		status, body, ok := ours(t, a)
		if !ok {
			return
		}
		theirStatus, theirBody, ok := theirs(data)
		if ok && (status != theirStatus || !bytes.Equal(body, theirBody)) {
			t.Errorf("%q is %d %q, net/http reads %d %q", data, status, body, theirStatus, theirBody)
		}
	})
}

func ours(t *testing.T, a *app.App) (int, []byte, bool) {
	ans, err := a.Serve(within.Context(t), &invoke.Call{Verb: "POST", Path: "/", Only: true})
	if err != nil {
		return 0, nil, false
	}
	defer func() { _ = ans.Body.Close() }()
	body, err := io.ReadAll(ans.Body)
	return ans.Status, body, err == nil
}

func theirs(data []byte) (int, []byte, bool) {
	br := bufio.NewReader(bytes.NewReader(data))
	for {
		res, err := http.ReadResponse(br, &http.Request{Method: "POST"})
		if err != nil {
			return 0, nil, false
		}
		if res.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return res.StatusCode, body, err == nil
	}
}
