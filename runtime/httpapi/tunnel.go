package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// switching are the fields of a 101 answer besides Connection, or why the app
// may not answer so.
func switching(offered string, a *invoke.Answer) (invoke.Fields, *apperr.Error) {
	if a.Upgraded == nil || offered == "" {
		return nil, &apperr.Error{
			Reason: apperr.ProtocolError, What: "the app switched protocols unasked", Hop: apperr.HopApp,
		}
	}
	protocol := a.Fields.Get("Upgrade")
	if protocol == "" {
		protocol = offered
	}
	fields := invoke.Fields{{Name: "Upgrade", Value: protocol}}
	for _, f := range a.Fields {
		if !strings.EqualFold(f.Name, "Upgrade") && !strings.EqualFold(f.Name, "Connection") {
			fields = append(fields, f)
		}
	}
	return fields, nil
}

// switchProtocols answers 101 and carries the bytes of both directions until
// both have ended. Each ends by itself; an error ends both.
func (x *exchange) switchProtocols(ctx context.Context, a *invoke.Answer) {
	defer func() { _ = a.Body.Close() }()
	fields, e := switching(x.upgrade, a)
	if e != nil {
		write(x.w, render(x.grpc, a.Peer.App(), e))
		return
	}
	client, buffered, err := x.rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // there is no connection to answer on
	}
	defer func() { _ = client.Close() }()
	if c, ok := client.(*conn); ok {
		c.becomeTunnel()
	}
	if writeSwitching(buffered.Writer, fields) != nil {
		return
	}
	// The reader that net/http leaves takes the client's half-close for its end
	// and cancels the call, so only what is already in it is taken from it.
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		early = nil // there was nothing after all
	}
	tunnel(ctx, client, behind(early, client), a)
}

// behind is what follows the request: what has been read already, and the rest.
func behind(early []byte, client net.Conn) io.Reader {
	if len(early) == 0 {
		return client
	}
	return io.MultiReader(bytes.NewReader(early), client)
}

func writeSwitching(w *bufio.Writer, fields invoke.Fields) error {
	_, _ = w.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n") // Flush has the error
	for _, f := range fields {
		writeField(w, f.Name, f.Value)
	}
	_, _ = w.WriteString("\r\n")
	return w.Flush()
}

// writeField writes one line, unless it would be more than one.
func writeField(w *bufio.Writer, name, value string) {
	if name == "" || strings.ContainsAny(name, "\r\n\x00: ") || strings.ContainsAny(value, "\r\n\x00") {
		return
	}
	_, _ = w.WriteString(name + ": " + value + "\r\n") // Flush has the error
}

func tunnel(ctx context.Context, client net.Conn, from io.Reader, a *invoke.Answer) {
	cut := func() {
		_ = client.Close() // both directions are over
		_ = a.Body.Close()
	}
	stop := context.AfterFunc(ctx, cut) // cut may wait
	defer stop()
	up := make(chan struct{})
	go func() {
		defer close(up)
		if copyAll(a.Upgraded, from) != nil || a.Upgraded.CloseWrite() != nil {
			cut()
		}
	}()
	if copyAll(client, a.Body) != nil || closeWrite(client) != nil {
		cut()
	}
	<-up
}

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

// copyAll copies piece by piece until EOF, with a buffer of the pool.
func copyAll(to io.Writer, from io.Reader) error {
	buf, _ := buffers.Get().(*[]byte) // there is nothing else in it
	defer buffers.Put(buf)
	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, *buf)
	return err
}

// onlyWriter and onlyReader hide what io.Copy would prefer to the buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
