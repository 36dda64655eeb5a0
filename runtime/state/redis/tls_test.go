package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

// selfSigned is a certificate that vouches for itself, and its key, as PEM.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// The server must prove who it is, unless the component says otherwise; the
// client proves it with the component's certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t)
	dir, port := t.TempDir(), porttest.Reserve(t)
	for name, text := range map[string]string{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	statetest.ServeRedis(t, "--tls-port", strconv.Itoa(int(port.Number())), "--tls-auth-clients", "yes",
		"--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "cert.pem"))
	for name, c := range map[string]struct {
		metadata []string
		wrong    string // a regular expression; empty: nothing is
	}{
		"nobody vouches for the server": {[]string{"clientCert", cert, "clientKey", key}, "failed to verify certificate"},
		// The server says why and closes: a client that is still writing may hear the second first.
		"the client has no certificate": {[]string{"insecureSkipTLSVerify", "true"}, "certificate required|connection reset|broken pipe"},
		"both are content":              {[]string{"clientCert", cert, "clientKey", key, "insecureSkipTLSVerify", "true"}, ""},
	} {
		store := open(t, port.Addr(), append(c.metadata, "enableTLS", "true", "redisMaxRetries", "-1")...)
		err := store.Transact(t.Context(), []state.Operation{{Set: &state.Set{Key: "a", Value: []byte("1")}}})
		if (err == nil) != (c.wrong == "") || err != nil && !regexp.MustCompile(c.wrong).MatchString(err.Error()) {
			t.Errorf("%s: %v, want %q", name, err, c.wrong)
		}
	}
}
