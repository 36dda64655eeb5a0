package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// awaitAnswer waits until a URL is answered with a status, and with a text in the
// body where one is given: answers 204 http://127.0.0.1:$H/v1.0/healthz. The
// host of a URL may be a Unix socket, by its path: answers 200 $DIR/x.socket:/v1.0/metadata.
// A verb may come first: answers POST 204 ... The scheme h2c is HTTP/2 by prior
// knowledge. With ! it is asked once, and must not be answered so.
func awaitAnswer(ts *testscript.TestScript, neg bool, args []string) {
	verb := http.MethodGet
	if len(args) > 0 && strings.ToUpper(args[0]) == args[0] && args[0][0] >= 'A' {
		verb, args = args[0], args[1:]
	}
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: answers [VERB] STATUS URL [TEXT]")
	}
	if neg {
		if status, body, err := askOnce(verb, args[1]); err == nil && strconv.Itoa(status) == args[0] {
			ts.Fatalf("%s is answered with %d %s", args[1], status, body)
		}
		return
	}
	last := "nothing"
	defer func() { ts.Logf("last answer: %s", last) }()
	await(ts, strings.Join(args, " "), func() bool {
		status, body, err := askOnce(verb, args[1])
		last = fmt.Sprintf("%d %s %v", status, body, err)
		return err == nil && strconv.Itoa(status) == args[0] && (len(args) < 3 || strings.Contains(body, args[2]))
	})
}

// askOnce asks a URL, or a path on a Unix socket.
func askOnce(verb, url string) (status int, body string, err error) {
	transport := &http.Transport{DisableKeepAlives: true}
	if rest, found := strings.CutPrefix(url, "h2c:"); found {
		url, transport.Protocols = "http:"+rest, new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	if socket, path, found := strings.Cut(url, ".socket:"); found {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket+".socket")
		}
		url = "http://any.name" + path
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, verb, url, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer.StatusCode, string(data), err
}

// inOrderIn fails unless a file holds texts one behind the other: inorder FILE
// TEXT... A text stands for a part of a line.
func inOrderIn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: inorder FILE TEXT...")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	rest := string(data)
	for _, text := range args[1:] {
		_, after, found := strings.Cut(rest, text)
		if !found {
			ts.Fatalf("%q does not come next in %s:\n%s", text, args[0], data)
		}
		_, rest, _ = strings.Cut(after, "\n")
	}
}

// waitAnew waits until an app has an instance, and another one: waitanew x $ID.
func waitAnew(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitanew APP INSTANCE")
	}
	await(ts, args[0]+" has another instance than "+args[1], func() bool {
		for _, e := range liveIn(ts) {
			if e.App == args[0] && e.ID != args[1] {
				return true
			}
		}
		return false
	})
}

// refuses waits until nobody takes connections: refuses 127.0.0.1:$H.
func refuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: refuses HOST:PORT...")
	}
	for _, at := range args {
		await(ts, at+" refuses connections", func() bool {
			conn, err := net.DialTimeout("tcp", at, time.Second)
			if err == nil {
				_ = conn.Close() // only asked whether
			}
			return err != nil
		})
	}
}
