package external_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/external"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func newHosts(t *testing.T, o external.Options) *external.Hosts {
	t.Helper()
	h, err := external.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// rootOf is a pool with the authority of a test server, and its PEM.
func rootOf(s *httptest.Server) (*x509.CertPool, string) {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// selfSigned is a certificate of name and its key, as PEM.
func selfSigned(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// call is a call for a raw URL, or for the name of an endpoint.
func call(t *testing.T, target, verb, path, body string) *invoke.Call {
	t.Helper()
	to, err := invoke.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	c := &invoke.Call{Target: to, Verb: verb, Path: path, Major: 1}
	if body != "" {
		c.Body, c.Length = invoke.BytesBody([]byte(body)), int64(len(body))
	}
	return c
}

// streamed makes c's body one whose bytes come as they are read.
func streamed(c *invoke.Call, trailers invoke.Fields) *invoke.Call {
	c.Body = invoke.NewBody(c.Body, func() invoke.Fields { return trailers })
	return c
}

func serve(t *testing.T, h *external.Hosts, c *invoke.Call) (*invoke.Answer, string) {
	t.Helper()
	answer, err := h.Serve(t.Context(), c)
	if err != nil {
		t.Fatalf("%s %s: %v", c.Target.Given, c.Path, err)
	}
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", c.Target.Given, c.Path, err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer, string(data)
}

func refused(t *testing.T, h *external.Hosts, c *invoke.Call) *apperr.Error {
	t.Helper()
	answer, err := h.Serve(t.Context(), c)
	if err == nil {
		_ = answer.Body.Close()
		t.Fatalf("%s answered %d", c.Target.Given, answer.Status)
	}
	return apperr.From(err)
}

// A wire is a host that answers each connection's requests with what answer
// says, byte for byte, and shows the heads it was sent.
func wire(t *testing.T, answer func(n int, head string) string) (base string, heads <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 100)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var n atomic.Int32
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer func() { _ = conn.Close() }()
				read := bufio.NewReader(conn)
				for head := readHead(read); head != ""; head = readHead(read) {
					// Who answers before has the client's writing fail.
					if _, err := io.CopyN(io.Discard, read, lengthIn(head)); err != nil {
						return
					}
					seen <- head
					said := answer(int(n.Add(1))-1, head)
					if _, err := io.WriteString(conn, said); err != nil || said == "" {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		cancel()
		all.Wait()
	})
	return "http://" + ln.Addr().String(), seen
}

// lengthIn is the length of the body that a head announces.
func lengthIn(head string) int64 {
	_, rest, _ := strings.Cut(head, "\r\nContent-Length: ")
	digits, _, _ := strings.Cut(rest, "\r\n")
	n, _ := strconv.ParseInt(digits, 10, 64)
	return n
}

func readHead(r *bufio.Reader) string {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return ""
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func endpoint(name, base string) config.HTTPEndpoint {
	return config.HTTPEndpoint{Name: name, BaseURL: base, At: "test.yaml:1"}
}

func named(t *testing.T, e config.HTTPEndpoint) *external.Hosts {
	t.Helper()
	return newHosts(t, external.Options{Endpoints: []config.HTTPEndpoint{e}})
}

func handler(f func(w http.ResponseWriter, r *http.Request)) http.Handler { return http.HandlerFunc(f) }

// fields are lines, name and value by turns.
func fields(pairs ...string) invoke.Fields {
	var f invoke.Fields
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}
