package grpctest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

// maxMessage is more than any message of the tests.
const maxMessage = 64 << 20

// A handler is one method of the app, of any kind.
type handler func(grpc.ServerStream) error

// An app is a gRPC server in the test's own process, so that tests see what it
// sees. Methods come and go with the tests.
type app struct {
	ln      net.Listener
	server  *grpc.Server
	health  *health.Server
	page    *http.Server
	methods sync.Map // full name to handler
	called  sync.Map // name to what OnInvoke does
	last    atomic.Int64
	done    chan struct{}
}

// newApp is an app that does not listen yet, with TLS if there is a certificate.
func newApp(certificate func() (tls.Certificate, error), options ...grpc.ServerOption) (*app, error) {
	a := &app{done: make(chan struct{}), health: health.NewServer()}
	options = append(options, grpc.UnknownServiceHandler(a.route), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	if certificate != nil {
		own, err := certificate()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&own)))
	}
	a.server = grpc.NewServer(options...)
	a.methods.Store("/dapr.proto.runtime.v1.AppCallback/OnInvoke", handler(a.onInvoke))
	healthpb.RegisterHealthServer(a.server, a.health)
	reflection.Register(a.server)
	return a, nil
}

// open makes the app listen.
func (a *app) open(address string) (err error) {
	if a.ln, err = net.Listen("tcp", address); err != nil {
		return err
	}
	go func() {
		defer close(a.done)
		_ = a.server.Serve(a.ln) // it ends with close
	}()
	return nil
}

// opened is a new app on a port of its own.
func opened(certificate func() (tls.Certificate, error), options ...grpc.ServerOption) (*app, error) {
	a, err := newApp(certificate, options...)
	if err != nil {
		return nil, err
	}
	return a, a.open("127.0.0.1:0")
}

// newPlainApp answers HTTP/1.1 with what it got.
func newPlainApp() (*app, error) {
	return newPage(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s ", r.Method, r.RequestURI)
		_, _ = io.Copy(w, r.Body) // the caller has gone: nobody to tell
	})
}

// newPage is an app that speaks HTTP/1.1.
func newPage(answer http.HandlerFunc) (*app, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &app{ln: ln, done: make(chan struct{})}
	a.page = &http.Server{ReadHeaderTimeout: patience, Handler: answer}
	go func() {
		defer close(a.done)
		_ = a.page.Serve(ln) // it ends with close
	}()
	return a, nil
}

// selfSigned is a certificate nobody knows.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (a *app) port() string { return strconv.Itoa(a.ln.Addr().(*net.TCPAddr).Port) }

// close cuts everything off, as a death does.
func (a *app) close() {
	if a.page != nil {
		_ = a.page.Close() // it ends with the process
	} else {
		a.server.Stop()
	}
	<-a.done
}

func (a *app) route(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	h, ok := a.methods.Load(name)
	if !ok {
		return status.Errorf(codes.Unimplemented, "the app has no %s", name)
	}
	return h.(handler)(stream)
}

// firstMethod is the name of an app's first method.
const firstMethod = "/pillion.test.Case/Method1"

// method makes h a method of the app until the test's end, and returns its
// full name.
func (a *app) method(t testing.TB, h handler) string {
	name := "/pillion.test.Case/Method" + strconv.FormatInt(a.last.Add(1), 10)
	a.methods.Store(name, h)
	t.Cleanup(func() { a.methods.Delete(name) })
	return name
}
