package ca

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/atomicfile"
	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/tls/identity"
)

// The files of a CA. Names and forms are those of Dapr's Sentry where it has
// the file.
const (
	rootFile      = "ca.crt"
	rootKeyFile   = "ca.key" // may be kept elsewhere; only renewing the issuer needs it
	issuerFile    = "issuer.crt"
	issuerKeyFile = "issuer.key"
	discoveryFile = "discovery.key" // 64 hex digits
	memberFile    = "member"
	lockFile      = ".lock"
	makingFile    = ".making" // there while the set is not whole
)

const (
	memberLength = 8
	maxFile      = 1 << 20
)

// ErrNotMade is what Open returns if there is no CA and nothing of one.
var ErrNotMade = errors.New("no CA has been made here")

// Open reads the CA in dir and checks every file of it; it writes nothing. The
// error is ErrNotMade if there is none. Anything damaged, missing or readable
// by other users is an *apperr.Error that names the file and the repair.
func Open(dir string, options Options) (*CA, error) {
	options = options.withDefaults()
	if err := exists(dir); err != nil {
		return nil, err
	}
	d := folder{dir: dir}
	roots, trustDomain, err := d.readRoots(options.TrustDomain)
	if err != nil {
		return nil, err
	}
	if err := CheckTime(filepath.Join(dir, rootFile), roots[0], options.Now()); err != nil {
		if options.Now().After(roots[0].NotAfter) {
			err.Hint = newCAHint(dir)
		}
		return nil, err
	}
	d.trustDomain, d.roots = trustDomain, roots
	if err := d.checkKeys(); err != nil {
		return nil, err
	}
	key, err := d.readDiscoveryKey()
	if err != nil {
		return nil, err
	}
	member, err := d.readMember()
	if err != nil {
		return nil, err
	}
	return &CA{
		trustDomain: trustDomain, roots: roots, key: key, member: member,
		now: options.Now, log: options.Logger, vault: d,
	}, nil
}

// exists returns ErrNotMade unless there is a CA, whole or damaged, in dir.
//
// The order makes it right beside a maker that is at work: the marker is there
// before the first file and goes after the root, so who has seen any file and
// then no marker must find the root.
func exists(dir string) error {
	var found []string
	for _, name := range []string{discoveryFile, memberFile, rootKeyFile, issuerKeyFile, issuerFile, rootFile} {
		switch _, err := os.Lstat(filepath.Join(dir, name)); {
		case err == nil:
			found = append(found, name)
		case !errors.Is(err, fs.ErrNotExist):
			return unreadable(filepath.Join(dir, name), err)
		}
	}
	if len(found) == 0 {
		return ErrNotMade
	}
	if _, err := os.Lstat(filepath.Join(dir, makingFile)); err == nil {
		return ErrNotMade
	}
	return nil
}

// A folder is the vault of a CA on disk.
type folder struct {
	dir         string
	trustDomain string
	roots       []*x509.Certificate
}

func (d folder) readRoots(wanted string) ([]*x509.Certificate, string, error) {
	data, err := d.read(rootFile)
	if err != nil {
		return nil, "", err
	}
	// The bundle only parses here; its trust domain is not looked at.
	bundle, err := x509bundle.Parse(spiffeid.RequireTrustDomainFromString(identity.DefaultTrustDomain), data)
	if err != nil {
		return nil, "", d.damaged(rootFile, "it holds no certificate that can be read", err)
	}
	roots := bundle.X509Authorities()
	if len(roots) == 0 {
		return nil, "", d.damaged(rootFile, "it holds no certificate", nil)
	}
	for _, root := range roots {
		if !root.IsCA {
			return nil, "", d.damaged(rootFile, "its certificate is not that of a CA", nil)
		}
	}
	trustDomain := trustDomainOf(roots[0])
	switch {
	case trustDomain == "" && wanted == "":
		trustDomain = identity.DefaultTrustDomain
	case trustDomain == "":
		trustDomain = wanted
	case wanted != "" && wanted != trustDomain:
		return nil, "", &apperr.Error{
			Reason: apperr.OwnConfig,
			What:   fmt.Sprintf("the CA in %s is of the trust domain %s, not %s", d.dir, trustDomain, wanted),
			Hint:   "keep another trust domain in another home: set PILLION_HOME",
		}
	}
	return roots, trustDomain, nil
}

// trustDomainOf is what a root of ours says of itself; "" for one that was
// made by something else.
func trustDomainOf(root *x509.Certificate) string {
	if len(root.URIs) != 1 || root.URIs[0].Scheme != "spiffe" || root.URIs[0].Path != "" {
		return ""
	}
	return root.URIs[0].Host
}

// checkKeys proves that the keys fit their certificates and the issuer is the
// root's.
func (d folder) checkKeys() error {
	if _, err := d.issuer(); err != nil {
		return err
	}
	_, err := d.root()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d folder) issuer() (pair, error) {
	p, err := d.readPair(issuerFile, issuerKeyFile)
	if err != nil {
		return pair{}, err
	}
	if !p.cert.IsCA {
		return pair{}, d.damaged(issuerFile, "its certificate is not that of a CA", nil)
	}
	for _, root := range d.roots {
		if p.cert.CheckSignatureFrom(root) == nil {
			return p, nil
		}
	}
	return pair{}, d.damaged(issuerFile, "it is not signed by "+rootFile, nil)
}

func (d folder) root() (pair, error) { return d.readPair(rootFile, rootKeyFile) }

// renew replaces the issuer's certificate and keeps its key, so that one
// rename is the whole change and no crash can leave a pair that does not fit.
func (d folder) renew(now time.Time) (pair, error) {
	lock, err := filelock.TryLock(filepath.Join(d.dir, lockFile))
	if err != nil {
		return pair{}, err // somebody else is renewing it, or nobody can
	}
	defer func() { _ = lock.Unlock() }() // closing is all that could fail
	current, err := d.issuer()
	if err != nil {
		return pair{}, err
	}
	if now.Before(current.cert.NotAfter.Add(-issuerLast)) {
		return current, nil // somebody else has just renewed it
	}
	root, err := d.root()
	if err != nil {
		return pair{}, err
	}
	renewed, err := newIssuer(d.trustDomain, current.key, root, now)
	if err != nil {
		return pair{}, err
	}
	if err := atomicfile.Write(filepath.Join(d.dir, issuerFile), pemCert(renewed.cert), 0o600); err != nil {
		return pair{}, err
	}
	return renewed, nil
}

func (d folder) readPair(certFile, keyFile string) (pair, error) {
	certPEM, err := d.read(certFile)
	if err != nil {
		return pair{}, err
	}
	keyPEM, err := d.readSecret(keyFile)
	if err != nil {
		return pair{}, err
	}
	defer clear(keyPEM)
	if _, err := x509bundle.Parse(spiffeid.RequireTrustDomainFromString(identity.DefaultTrustDomain), certPEM); err != nil {
		return pair{}, d.damaged(certFile, "it holds no certificate that can be read", err)
	}
	both, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return pair{}, d.damaged(keyFile, "it holds no key that fits "+certFile, err)
	}
	key, ok := both.PrivateKey.(crypto.Signer)
	if !ok {
		return pair{}, d.damaged(keyFile, "its key cannot sign", nil)
	}
	return pair{both.Leaf, key}, nil
}

func (d folder) readDiscoveryKey() ([]byte, error) {
	text, err := d.readSecret(discoveryFile)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != keyBytes {
		return nil, d.damaged(discoveryFile, fmt.Sprintf("it does not hold %d hex digits", 2*keyBytes), err)
	}
	return key, nil
}

func (d folder) readMember() (string, error) {
	text, err := d.read(memberFile)
	if err != nil {
		return "", err
	}
	member := strings.TrimSpace(string(text))
	if len(member) != memberLength || strings.Trim(member, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return "", d.damaged(memberFile, fmt.Sprintf("it does not hold %d lower-case letters and digits", memberLength), nil)
	}
	return member, nil
}

// readSecret is read for files that nobody else may read.
func (d folder) readSecret(name string) ([]byte, error) {
	path := filepath.Join(d.dir, name)
	if info, err := os.Stat(path); err == nil && !private(info) {
		return nil, &apperr.Error{
			Reason: apperr.OwnConfig,
			What:   path + " can be read by other users",
			Cause:  "its mode is " + info.Mode().Perm().String(),
			Hint:   "chmod 600 " + path,
			Run:    []string{"chmod", "600", path},
		}
	}
	return d.read(name)
}

func (d folder) read(name string) ([]byte, error) {
	path := filepath.Join(d.dir, name)
	f, err := os.Open(path) //nolint:gosec // a file of the CA's folder
	if errors.Is(err, fs.ErrNotExist) {
		e := d.damaged(name, "the other files of the CA are there", err)
		e.What = path + " is missing"
		return nil, e
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, unreadable(path, err)
	case len(data) > maxFile:
		return nil, d.damaged(name, "it is larger than 1 MiB", nil)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, d.damaged(name, "it is empty", nil)
	}
	return data, nil
}

func (d folder) damaged(name, cause string, err error) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   filepath.Join(d.dir, name) + " is damaged",
		Cause:  cause,
		Hint:   "restore it from a copy, or " + newCAHint(d.dir),
		Err:    err,
	}
}

func newCAHint(dir string) string {
	return "make a new CA: stop all apps, rm -r " + dir + ", start them again"
}

func unreadable(path string, err error) error {
	cause := err
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		cause = failed.Err
	}
	return &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   path + " cannot be read",
		Cause:  cause.Error(),
		Err:    err,
	}
}
