// Package smallapp is the app the benchmark calls: a small net/http server that
// speaks HTTP/1.1 and, by prior knowledge, HTTP/2 with unary gRPC.
package smallapp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What can be called. Each reads its request to the end first.
const (
	// Notify answers 26 bytes of JSON.
	Notify = "/notify"
	// Bytes and a number answers as many bytes.
	Bytes = "/bytes/"
	// Seen answers the request's header fields, a line each, for those who
	// want to know what a proxy did with them.
	Seen = "/seen"
	// Slow and a number answers after as many milliseconds.
	Slow = "/slow/"
	// Service is the gRPC service: the method Notify answers a message of 26
	// bytes, BytesN one of N bytes.
	Service = "/bench.Small/"
)

// answer is what Notify says, as JSON and as a message.
const answer = `{"status":"sent","id":"1"}`

// maxAnswer bounds what may be asked for.
const maxAnswer = 64 << 20

// Serve answers on ln until ctx ends.
func Serve(ctx context.Context, ln net.Listener) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler: handler(), Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second,
		// More than HAProxy asks for: the app must not be what limits it.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000},
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(Notify, func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer) // whoever went away does not want it
	})
	mux.HandleFunc(Bytes, func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		n, ok := size(w, strings.TrimPrefix(r.URL.Path, Bytes))
		if !ok {
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		write(w, n)
	})
	mux.HandleFunc(Slow, func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		if n, ok := size(w, strings.TrimPrefix(r.URL.Path, Slow)); ok {
			select {
			case <-time.After(time.Duration(n) * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	})
	mux.HandleFunc(Seen, func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		_ = r.Header.Write(w) // as above
	})
	mux.HandleFunc(Service, unary)
	return mux
}

func drain(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

func size(w http.ResponseWriter, text string) (int, bool) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxAnswer {
		http.Error(w, "a number from 0 to 67108864 is wanted", http.StatusBadRequest)
		return 0, false
	}
	return n, true
}

// unary answers one gRPC message with one.
func unary(w http.ResponseWriter, r *http.Request) {
	drain(r)
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	method := strings.TrimPrefix(r.URL.Path, Service)
	count, large := strings.CutPrefix(method, "Bytes")
	n, err := strconv.Atoi(count)
	if !large {
		n, err = len(answer), nil
	}
	if err != nil || n < 0 || n > maxAnswer || !large && method != "Notify" {
		h.Set("Grpc-Status", "12")
		return
	}
	h.Set("Trailer", "Grpc-Status")
	message := make([]byte, 5, 5+len(answer))
	binary.BigEndian.PutUint32(message[1:], uint32(n))
	if large {
		_, _ = w.Write(message) // as above
		write(w, n)
	} else {
		_, _ = w.Write(append(message, answer...)) // as above
	}
	h.Set("Grpc-Status", "0")
}

// write writes n bytes.
func write(w io.Writer, n int) {
	const block = 32 << 10
	zeros := blank[:]
	for ; n > 0; n -= block {
		if _, err := w.Write(zeros[:min(n, block)]); err != nil {
			return
		}
	}
}

// blank is what large answers are made of. It is only read.
var blank [32 << 10]byte
