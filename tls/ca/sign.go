package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/pillion-dev/pillion/tls/identity"
)

// maxRequest bounds a certificate request; ours have some 250 bytes.
const maxRequest = 16 << 10

// minRSA is the smallest RSA key a leaf may have.
const minRSA = 2048

// checkRequest reads a PKCS #10 request and proves that its sender has the key.
func checkRequest(der []byte) (*x509.CertificateRequest, error) {
	if len(der) > maxRequest {
		return nil, fmt.Errorf("certificate request of %d bytes, at most %d are read", len(der), maxRequest)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	switch key := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return nil, errors.New("certificate request: the curve P-224 is too weak")
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSA {
			return nil, fmt.Errorf("certificate request: an RSA key of %d bits is too weak", key.N.BitLen())
		}
	default:
		return nil, fmt.Errorf("certificate request: %T is not a kind of key we sign", key)
	}
	return csr, nil
}

// A leafSpec is what a leaf is made of.
type leafSpec struct {
	csr    *x509.CertificateRequest
	id     identity.ID
	member string
	now    time.Time
	ttl    time.Duration
}

func signLeaf(spec leafSpec, issuer pair) (*x509.Certificate, error) {
	uri, err := spec.id.SPIFFE()
	if err != nil {
		return nil, err
	}
	until := spec.now.Add(spec.ttl)
	if until.After(issuer.cert.NotAfter) {
		until = issuer.cert.NotAfter
	}
	return sign(&x509.Certificate{
		Subject:   pkix.Name{Organization: []string{spec.member}},
		URIs:      []*url.URL{uri.URL()},
		NotBefore: spec.now.Add(-leafSkew),
		NotAfter:  until,
		KeyUsage:  x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{
			x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth,
		},
		BasicConstraintsValid: true,
	}, spec.csr.PublicKey, issuer)
}

// newRoot makes a root that may sign issuers and nothing deeper.
func newRoot(trustDomain string, now time.Time) (pair, error) {
	key, err := newKey()
	if err != nil {
		return pair{}, err
	}
	template := authority(trustDomain, "root", now, rootTTL)
	template.MaxPathLen = 1
	cert, err := sign(template, key.Public(), pair{template, key})
	return pair{cert, key}, err
}

// newIssuer signs key as an issuer, which may sign leaves only.
func newIssuer(trustDomain string, key crypto.Signer, root pair, now time.Time) (pair, error) {
	ttl := min(issuerTTL, root.cert.NotAfter.Sub(now))
	template := authority(trustDomain, "issuer", now, ttl)
	template.MaxPathLenZero = true
	cert, err := sign(template, key.Public(), root)
	return pair{cert, key}, err
}

// authority is what root and issuer have in common. The trust domain is in
// the URI, as X509-SVID §4.2 has it for signing certificates.
func authority(trustDomain, name string, now time.Time, ttl time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{trustDomain}, CommonName: "pillion " + name},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
		NotBefore:             now.Add(-caSkew),
		NotAfter:              now.Add(ttl),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

func sign(template *x509.Certificate, public crypto.PublicKey, by pair) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	// RFC 5280 §4.1.2.2: positive.
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, public, by.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
