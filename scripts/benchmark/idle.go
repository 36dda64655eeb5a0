package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/scripts/internal/smallapp"
)

// idleBound is what an idle connection at a door may hold, in bytes.
const idleBound = 30 << 10

// IdleConnections is what the caller's sidecar holds without and with
// connections that were used once and then left alone.
type idleConnections struct {
	Count         int
	Without, With memory
}

// String says what one of them costs.
func (i idleConnections) String() string {
	if i.Count == 0 {
		return ""
	}
	each := float64(i.With.Resident-i.Without.Resident) / float64(i.Count)
	verdict := "met"
	if each > idleBound {
		verdict = "**not met**"
	}
	return fmt.Sprintf("%d idle connections at a door: %.0f MB without, %.0f MB with them: **%.1f KB each** (≤ %d KB: %s).\n",
		i.Count, float64(i.Without.Resident)/(1<<20), float64(i.With.Resident)/(1<<20), each/1024, idleBound>>10, verdict)
}

// idleConnections opens connections to a door, uses each once, and looks at
// what the sidecar holds once it is quiet again.
func (b *bench) idleConnections(ctx context.Context) (idleConnections, error) {
	out := idleConnections{Count: 1000}
	p, err := b.startPair(ctx, pairSpec{name: namePillion, proto: protoHTTP})
	if err != nil {
		return out, err
	}
	f, err := familyOf(p.caller.cmd.Process.Pid)
	if err != nil {
		return out, err
	}
	address, path, _ := strings.Cut(strings.TrimPrefix(p.base, "http://"), "/")
	request := "POST /" + path + smallapp.Notify + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
	conns := make([]net.Conn, 0, out.Count+1)
	defer func() {
		for _, c := range conns {
			_ = c.Close() // it was idle
		}
	}()
	open := func() error {
		conn, err := useOnce(ctx, address, request)
		if err == nil {
			conns = append(conns, conn)
		}
		return err
	}
	if err := open(); err != nil { // the first one wakes everything up
		return out, err
	}
	if err := sleep(ctx, settle); err != nil {
		return out, err
	}
	out.Without = memoryOf(f.own)
	for range out.Count {
		if err := open(); err != nil {
			return out, err
		}
	}
	if err := sleep(ctx, settle); err != nil {
		return out, err
	}
	out.With = memoryOf(f.own)
	say("%s", strings.TrimSpace(out.String()))
	return out, nil
}

// useOnce opens a connection, sends one request and reads its answer.
func useOnce(ctx context.Context, address, request string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := exchange(conn, request); err != nil {
		_ = conn.Close() // already reporting the first error
		return nil, err
	}
	return conn, nil
}

func exchange(conn net.Conn, request string) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("a call through an idle connection: %s", answer.Status)
	}
	return nil
}

// healthy says if a sidecar's own parts are up.
func healthy(ctx context.Context, port string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback+":"+port+"/v1.0/healthz/outbound", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it has none
	if answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("/v1.0/healthz/outbound answers %s", answer.Status)
	}
	return nil
}
