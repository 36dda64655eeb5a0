// Package external carries calls out of the mesh: to the host of an http:// or
// https:// target, and to the hosts that HTTPEndpoint resources name. It stands
// on net/http: what leaves the mesh is not the path pillion is measured by.
package external

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

const (
	// connectTimeout bounds a dial, and then a TLS handshake, as Dapr's for
	// HTTPEndpoints.
	connectTimeout = 15 * time.Second
	// continueTimeout is how long a body waits for 100 Continue from a host
	// that may not know of it.
	continueTimeout = time.Second
	idleTimeout     = 90 * time.Second
	maxConnsPerHost = 512
	maxIdle         = 128
	maxIdlePerHost  = 32
	// maxHead bounds the head of an answer.
	maxHead = 64 << 10
)

// Options are what Hosts are made of. The zero value serves raw URLs only.
type Options struct {
	// Endpoints are the hosts that can be called by name.
	Endpoints []config.HTTPEndpoint
	// Roots are whose certificates hosts are verified by that have no root of
	// their own. Nil: the system's.
	Roots *x509.CertPool
}

// Hosts are the hosts outside the mesh. They are an invoke.External and safe
// for concurrent use.
type Hosts struct {
	raw   *host
	roots *x509.CertPool
	// named is replaced whole; a call keeps the host it began with.
	named atomic.Pointer[map[string]*host]

	replacing sync.Mutex // held while that is done
}

var _ invoke.External = (*Hosts)(nil)

// A host is where calls go, or for raw URLs how.
type host struct {
	of       config.HTTPEndpoint // of a named one, as is base
	base     string
	headers  []config.EndpointHeader
	follow   bool          // redirects
	unusable *apperr.Error // then there are no transports

	// load reads the system's authorities if hosts are verified by them.
	load func()

	// Each of the transports opens connections only once it is used. web speaks
	// what the host does; tunnels can only be made by HTTP/1.1; grpc is HTTP/2
	// without TLS, by prior knowledge.
	web, one, grpc *http.Transport
}

// New makes Hosts. It opens nothing. Everything wrong is reported, joined, as
// *apperr.Error.
func New(o Options) (*Hosts, error) {
	h := &Hosts{roots: o.Roots, raw: newHost(&tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12})}
	h.named.Store(&map[string]*host{})
	if err := h.Replace(o.Endpoints); err != nil {
		return nil, err
	}
	return h, nil
}

// Replace has the hosts of endpoints called by name from now on, and no others.
// Those that are as they were keep their connections; calls to others end in
// their time. If anything is wrong, all of it is reported, joined, and nothing
// is replaced.
func (h *Hosts) Replace(endpoints []config.HTTPEndpoint) error {
	h.replacing.Lock()
	defer h.replacing.Unlock()
	before, now := *h.named.Load(), map[string]*host{}
	var errs []error
	for _, e := range endpoints {
		if old := before[e.Name]; old != nil && isSame(old.of, e) {
			now[e.Name] = old
			continue
		}
		one, err := named(e, h.roots)
		if err != nil {
			errs = append(errs, &apperr.Error{
				Reason: apperr.OwnConfig, Err: err, What: fmt.Sprintf("%s: HTTPEndpoint %s: %v", e.At, e.Name, err),
			})
			continue
		}
		one.of = e
		now[e.Name] = one
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	h.named.Store(&now)
	for name, old := range before {
		if now[name] != old {
			old.close()
		}
	}
	return nil
}

// Check reports what Replace would.
func Check(endpoints []config.HTTPEndpoint) error {
	_, err := New(Options{Endpoints: endpoints})
	return err
}

// isSame reports whether two resources say the same, wherever they stand.
func isSame(a, b config.HTTPEndpoint) bool {
	a.At, b.At = "", ""
	return reflect.DeepEqual(a, b)
}

// lookUp is the host of a name; nil if there is none.
func (h *Hosts) lookUp(name string) *host { return (*h.named.Load())[name] }

// Knows implements invoke.External.
func (h *Hosts) Knows(name string) bool { return h.lookUp(name) != nil }

// Run keeps the hosts until ctx ends, and then closes the connections that
// nobody uses. It returns nil.
func (h *Hosts) Run(ctx context.Context) error {
	<-ctx.Done()
	h.Close()
	return nil
}

// Close closes the connections that nobody uses.
func (h *Hosts) Close() {
	h.raw.close()
	for _, one := range *h.named.Load() {
		one.close()
	}
}

func (h *host) close() {
	if h.unusable != nil {
		return
	}
	for _, t := range []*http.Transport{h.web, h.one, h.grpc} {
		t.CloseIdleConnections()
	}
}

func newHost(secure *tls.Config) *host {
	return &host{
		// They are a few hundred files, read when the first certificate is
		// verified, which then may take a machine that is busy and has none of
		// them in memory longer than a handshake has.
		load: sync.OnceFunc(func() {
			if secure.RootCAs == nil {
				_, _ = x509.SystemCertPool() // it keeps them; verifying says what is wrong
			}
		}),
		web:  transport(secure, func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }),
		one:  transport(secure, func(p *http.Protocols) { p.SetHTTP1(true) }),
		grpc: transport(secure, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true); p.SetHTTP2(true) }),
	}
}

// transport is net/http's, set so that it adds and takes away nothing: no
// proxy of the environment, no compression of its own.
func transport(secure *tls.Config, speak func(*http.Protocols)) *http.Transport {
	protocols := new(http.Protocols)
	speak(protocols)
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: secure.Clone(), Protocols: protocols,
		TLSHandshakeTimeout: connectTimeout, ExpectContinueTimeout: continueTimeout,
		DisableCompression: true, MaxResponseHeaderBytes: maxHead,
		MaxConnsPerHost: maxConnsPerHost, MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdlePerHost, IdleConnTimeout: idleTimeout,
	}
}

// named makes the host of a resource.
func named(e config.HTTPEndpoint, roots *x509.CertPool) (*host, error) {
	if target, err := invoke.ParseTarget(e.Name); err != nil || target.URL != "" {
		return nil, fmt.Errorf("apps cannot call it by its name: app, or app.namespace, of letters, digits, - and _")
	}
	if problem := invoke.CheckBase(e.BaseURL); problem != "" {
		return nil, fmt.Errorf("spec.baseUrl %q: %s", e.BaseURL, problem)
	}
	for _, header := range e.Headers {
		if !httpguts.ValidHeaderFieldName(header.Name) || !httpguts.ValidHeaderFieldValue(header.Value) {
			return nil, fmt.Errorf("the header %q cannot be sent", header.Name)
		}
	}
	if e.Unusable != "" {
		return &host{unusable: &apperr.Error{
			Reason: apperr.OwnConfig, What: "the HTTPEndpoint " + e.Name + " cannot be called",
			Cause: e.Unusable, Hint: "write it as a value at " + e.At, Reached: apperr.ReachedNo,
		}}, nil
	}
	secure, err := clientTLS(e.TLS, roots)
	if err != nil {
		return nil, err
	}
	h := newHost(secure)
	h.base, h.headers, h.follow = e.BaseURL, e.Headers, true
	return h, nil
}

func clientTLS(given config.ClientTLS, roots *x509.CertPool) (*tls.Config, error) {
	secure := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if given.RootCA != "" {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM([]byte(given.RootCA)) {
			return nil, errors.New("spec.clientTLS.rootCA holds no certificate in PEM form")
		}
	}
	if (given.Certificate == "") != (given.PrivateKey == "") {
		return nil, errors.New("spec.clientTLS.certificate and privateKey go together")
	}
	if given.Certificate != "" {
		pair, err := tls.X509KeyPair([]byte(given.Certificate), []byte(given.PrivateKey))
		if err != nil {
			return nil, fmt.Errorf("spec.clientTLS.certificate and privateKey: %s", strings.TrimPrefix(err.Error(), "tls: "))
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	switch given.Renegotiation {
	case "once":
		secure.Renegotiation = tls.RenegotiateOnceAsClient
	case "freely":
		secure.Renegotiation = tls.RenegotiateFreelyAsClient
	}
	return secure, nil
}
