package difftest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Opcodes of RFC 6455 §5.2.
const (
	wsContinuation = 0x0
	wsText         = 0x1
	wsBinary       = 0x2
	wsClose        = 0x8
	wsPing         = 0x9
	wsPong         = 0xa
)

// A wsFrame is a frame of RFC 6455.
type wsFrame struct {
	final   bool
	op      byte
	payload []byte
}

func (f wsFrame) String() string {
	return fmt.Sprintf("op %x, final %t, %s", f.op, f.final, shown(f.payload))
}

// writeFrame sends a frame; a client masks it.
func writeFrame(w io.Writer, f wsFrame, masked bool) error {
	head := []byte{f.op, 0}
	if f.final {
		head[0] |= 0x80
	}
	switch n := len(f.payload); {
	case n < 126:
		head[1] = byte(n)
	case n < 1<<16:
		head[1] = 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	default:
		head[1] = 127
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	payload := f.payload
	if masked {
		head[1] |= 0x80
		mask := [4]byte{1, 2, 3, 4}
		head = append(head, mask[:]...)
		payload = bytes.Clone(payload)
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
	}
	_, err := w.Write(append(head, payload...))
	return err
}

func readFrame(r io.Reader) (wsFrame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return wsFrame{}, err
	}
	f := wsFrame{final: head[0]&0x80 != 0, op: head[0] & 0x0f}
	n := uint64(head[1] & 0x7f)
	var more [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(r, more[:2]); err != nil {
			return f, err
		}
		n = uint64(binary.BigEndian.Uint16(more[:]))
	case 127:
		if _, err := io.ReadFull(r, more[:8]); err != nil {
			return f, err
		}
		n = binary.BigEndian.Uint64(more[:])
	}
	var mask [4]byte
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return f, err
		}
	}
	f.payload = make([]byte, n)
	_, err := io.ReadFull(r, f.payload)
	for i := range f.payload {
		f.payload[i] ^= mask[i%4]
	}
	return f, err
}

// echoFrames is an app that sends each frame back. It answers pings, and the
// text "close N" by closing with that code.
func echoFrames(c net.Conn) {
	ws, _, err := accept(c)
	for err == nil {
		var f wsFrame
		if f, err = readFrame(ws); err != nil {
			break
		}
		var code int
		if _, no := fmt.Sscanf(string(f.payload[:min(len(f.payload), 20)]), "close %d", &code); no == nil {
			f = wsFrame{true, wsClose, binary.BigEndian.AppendUint16(nil, uint16(code))}
		}
		if f.op == wsPing {
			f.op = wsPong
		}
		err = writeFrame(ws, f, false)
		if f.op == wsClose {
			return // RFC 6455 §7.1.1: the server closes first
		}
	}
}

// A wsClient sends frames and wants them back.
type wsClient struct {
	t    *testing.T
	conn *tunnelEnd
}

func (p *pair) websocket() wsClient {
	p.t.Helper()
	c := wsClient{p.t, p.upgrade("/ws", "websocket")}
	_ = c.conn.SetDeadline(time.Now().Add(2 * patience)) // a socket that is closed fails anyway
	return c
}

func (c wsClient) send(f wsFrame) {
	c.t.Helper()
	if err := writeFrame(c.conn, f, true); err != nil {
		c.t.Errorf("send %v: %v", f, err)
	}
}

func (c wsClient) want(f wsFrame) {
	c.t.Helper()
	got, err := readFrame(c.conn)
	if err != nil || got.final != f.final || got.op != f.op || !bytes.Equal(got.payload, f.payload) {
		c.t.Errorf("got %v (%v), want %v", got, err, f)
	}
}

func (c wsClient) wantEnd() {
	c.t.Helper()
	if f, err := readFrame(c.conn); !errors.Is(err, io.EOF) {
		c.t.Errorf("got %v (%v), want the end", f, err)
	}
}

func closing(code uint16) wsFrame {
	return wsFrame{true, wsClose, binary.BigEndian.AppendUint16(nil, code)}
}

func TestWebSocketsCrossBothSidecars(t *testing.T) {
	t.Parallel()
	for _, protocol := range http1Protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, protocol, echoFrames)
			t.Run("text, binary and pieces", func(t *testing.T) {
				c := p.websocket()
				for _, f := range []wsFrame{
					{true, wsText, []byte("hello")},
					{true, wsBinary, []byte{0, 1, 255}},
					{true, wsText, nil},
					{false, wsText, []byte("one ")},
					{true, wsPing, []byte("in between")},
					{false, wsContinuation, []byte("two ")},
					{true, wsContinuation, []byte("three")},
					{true, wsPing, nil},
					{true, wsBinary, bytes.Repeat([]byte("x"), 70000)},
				} {
					c.send(f)
					if f.op == wsPing {
						f.op = wsPong
					}
					c.want(f)
				}
			})
			t.Run("codes of a close", func(t *testing.T) {
				for _, code := range []uint16{1000, 1001, 4000} {
					c := p.websocket()
					c.send(closing(code))
					c.want(closing(code))
					c.wantEnd()
					c = p.websocket()
					c.send(wsFrame{true, wsText, fmt.Appendf(nil, "close %d", code)})
					c.want(closing(code))
					c.wantEnd()
				}
			})
			t.Run("ten megabytes", func(t *testing.T) {
				c := p.websocket()
				big := make([]byte, 10<<20)
				rnd := rand.New(rand.NewPCG(1, 2))
				for i := range big {
					big[i] = byte(rnd.Uint32())
				}
				f := wsFrame{true, wsBinary, big}
				go c.send(f)
				c.want(f)
			})
			t.Run("fifty at once", func(t *testing.T) { fiftyAtOnce(t, p) })
		})
	}
}

// fiftyAtOnce has each connection say things of its own.
func fiftyAtOnce(t *testing.T, p *pair) {
	var all sync.WaitGroup
	for i := range 50 {
		c := p.websocket()
		all.Go(func() {
			for j := range 20 {
				f := wsFrame{true, wsText, fmt.Appendf(nil, "connection %d, message %d", i, j)}
				c.send(f)
				c.want(f)
			}
			c.send(closing(1000))
			c.want(closing(1000))
		})
	}
	all.Wait()
}

// A line protocol: the client sends lines and ends its direction; the app then
// says how many there were, and ends its own.
func TestAnotherProtocolCrossesWithEachDirectionEndingByItself(t *testing.T) {
	t.Parallel()
	for _, protocol := range http1Protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, protocol, func(c net.Conn) {
				lines, _, err := accept(c)
				if err != nil {
					return
				}
				all, err := io.ReadAll(lines)
				if err == nil {
					_, _ = fmt.Fprintf(c, "%d lines\n", bytes.Count(all, []byte("\n"))) // the test sees it
				}
			})
			c := p.upgrade("/lines", "lines/1")
			for range 1000 {
				if _, err := io.WriteString(c, "a line\n"); err != nil {
					t.Fatal(err)
				}
			}
			if err := closeWrite(c.Conn); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if string(got) != "1000 lines\n" || err != nil {
				t.Errorf("got %q (%v), want %q", got, err, "1000 lines\n")
			}
		})
	}
}
