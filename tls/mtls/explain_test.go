package mtls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

func TestExplainNamesPeerCauseAndProof(t *testing.T) {
	t.Parallel()
	remote := func(alert tls.AlertError) error {
		return &net.OpError{Op: "remote error", Err: alert}
	}
	own := &apperr.Error{Reason: apperr.Refused, What: "said before"}
	for name, test := range map[string]struct {
		err     error
		reason  apperr.Reason
		reached apperr.Reached
		says    string
	}{
		"bad certificate":   {remote(42), apperr.PeerNotTrusted, apperr.ReachedNo, "notification-service refused our certificate"},
		"expired":           {remote(45), apperr.CertNotValid, apperr.ReachedNo, "clock"},
		"unknown CA":        {remote(48), apperr.PeerNotTrusted, apperr.ReachedNo, "another CA"},
		"required":          {remote(116), apperr.PeerNotTrusted, apperr.ReachedNo, "refused our certificate"},
		"no such label":     {remote(80), apperr.PeerNotTrusted, apperr.ReachedNo, "not at this address"},
		"no protocol":       {remote(120), apperr.ProtocolError, apperr.ReachedNo, "no protocol of ours"},
		"another alert":     {remote(10), apperr.PeerNotTrusted, apperr.ReachedNo, "unexpected message"},
		"wrapped":           {fmt.Errorf("read: %w", remote(42)), apperr.PeerNotTrusted, apperr.ReachedNo, "refused"},
		"not TLS":           {tls.RecordHeaderError{Msg: "first record"}, apperr.PeerNotTrusted, apperr.ReachedNo, "does not speak TLS"},
		"end of file":       {io.EOF, apperr.PeerUnreachable, apperr.ReachedMaybe, "closed the connection"},
		"reset":             {&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, apperr.PeerUnreachable, apperr.ReachedMaybe, "connection reset by peer"},
		"too late":          {os.ErrDeadlineExceeded, apperr.PeerUnreachable, apperr.ReachedMaybe, "in time"},
		"time is up":        {context.DeadlineExceeded, apperr.PeerUnreachable, apperr.ReachedMaybe, "in time"},
		"given up":          {context.Canceled, apperr.Cancelled, apperr.ReachedMaybe, "given up"},
		"what TLS finds":    {errors.New("tls: server selected TLS 0.9"), apperr.PeerNotTrusted, apperr.ReachedNo, "server selected"},
		"what is explained": {fmt.Errorf("dial: %w", own), apperr.Refused, apperr.ReachedMaybe, "said before"},
	} {
		e := mtls.Explain(test.err, id(t, "notification-service"))
		if e == nil || e.Reason != test.reason || e.Reached != test.reached || !strings.Contains(e.Error(), test.says) {
			t.Errorf("%s: %+v, want %s, reached %s, saying %q", name, e, test.reason, test.reached, test.says)
		}
	}
	if e := mtls.Explain(nil, identity.ID{}); e != nil {
		t.Errorf("Explain(nil) = %v", e)
	}
	if e := mtls.Explain(io.EOF, identity.ID{}); !strings.HasPrefix(e.What, "the peer ") {
		t.Errorf("a peer without a name is called %q", e.What)
	}
}

// In TLS 1.3 the client's handshake is over before the server has judged its
// certificate, so the refusal comes with the first read.
func TestRefusalOfOurCertificateShowsAtTheFirstRead(t *testing.T) {
	t.Parallel()
	ours, other := newCA(t, ca.Options{}), newCA(t, ca.Options{})
	callee := workload(t, ours, "notification-service", nil)
	stranger := workload(t, other, "todo-api", nil)
	cfg := stranger.Client(callee.ID(), label, proto)
	cfg.VerifyConnection = nil
	p := listen(t, server(callee))
	raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, cfg)
	defer func() { _ = conn.Close() }()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("Handshake = %v: the refusal came earlier than TLS 1.3 has it", err)
	}
	_, err = conn.Read(make([]byte, 1))
	e := mtls.Explain(err, callee.ID())
	if e == nil || e.Reason != apperr.PeerNotTrusted || e.Reached != apperr.ReachedNo ||
		e.What != "notification-service refused our certificate" {
		t.Errorf("the first read = %+v, want that our certificate was refused", e)
	}
}

func TestStrangersServerIsExplained(t *testing.T) {
	t.Parallel()
	c := newCA(t, ca.Options{})
	caller := workload(t, c, "todo-api", nil)
	wanted := id(t, "notification-service")
	elsewhere := listen(t, workload(t, c, "notification-service", nil).Server(mtls.ServerOptions{
		Labels: func(string) bool { return false }, NextProtos: []string{proto},
	}))
	newer := listen(t, workload(t, c, "notification-service", nil).Server(mtls.ServerOptions{
		Labels: func(string) bool { return true }, NextProtos: []string{"pillion/9"},
	}))
	for name, test := range map[string]struct{ addr, says string }{
		"another app's port": {elsewhere.addr, "notification-service is not at this address"},
		"another protocol":   {newer.addr, "notification-service speaks no protocol of ours"},
		"a web server":       {webServer(t), "does not speak TLS"},
	} {
		_, err := call(t.Context(), test.addr, caller.Client(wanted, label, proto))
		e := mtls.Explain(err, wanted)
		if e == nil || e.Reached != apperr.ReachedNo || !strings.Contains(e.Error(), test.says) {
			t.Errorf("%s: %+v (%v), want %q", name, e, err, test.says)
		}
	}
}

// webServer answers in clear text.
func webServer(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}()
	t.Cleanup(func() { _ = ln.Close(); within.Receive(t, done) })
	return ln.Addr().String()
}

func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
