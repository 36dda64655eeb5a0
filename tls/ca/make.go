package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/atomicfile"
	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/tls/identity"
)

// keyBytes is the length of the discovery key.
const keyBytes = 32

// Ensure opens the CA in dir and makes it first if there is none; made says
// whether it did. Of several processes that start at once on a fresh dir one
// makes the CA and all get it. It waits for another maker until ctx ends.
// What is there and damaged is an error, never replaced; only what an
// interrupted Ensure has left behind is cleared away.
func Ensure(ctx context.Context, dir string, options Options) (c *CA, made bool, err error) {
	c, err = Open(dir, options)
	if !errors.Is(err, ErrNotMade) {
		return c, false, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, cannotKeep(dir, err)
	}
	lock, err := filelock.Lock(ctx, filepath.Join(dir, lockFile))
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, err
		}
		return nil, false, cannotKeep(dir, err)
	}
	defer func() { _ = lock.Unlock() }() // closing is all that could fail
	c, err = Open(dir, options)
	if !errors.Is(err, ErrNotMade) {
		return c, false, err // somebody else has made it meanwhile
	}
	if err := makeIn(dir, options.withDefaults()); err != nil {
		return nil, false, err
	}
	c, err = Open(dir, options)
	return c, err == nil, err
}

// Ephemeral makes a CA that exists in memory only, for a process without a
// home: it can call and be called by itself alone.
func Ephemeral(options Options) (*CA, error) {
	options = options.withDefaults()
	f, err := fresh(options)
	if err != nil {
		return nil, err
	}
	return &CA{
		trustDomain: f.trustDomain,
		roots:       []*x509.Certificate{f.root.cert},
		key:         f.key,
		member:      f.member,
		now:         options.Now,
		log:         options.Logger,
		vault:       &memory{root: f.root, trustDomain: f.trustDomain, current: f.issuer},
	}, nil
}

// A newCA is everything a CA consists of.
type newCA struct {
	trustDomain  string
	root, issuer pair
	key          []byte
	member       string
}

func fresh(options Options) (newCA, error) {
	f := newCA{trustDomain: options.TrustDomain, key: make([]byte, keyBytes)}
	if f.trustDomain == "" {
		f.trustDomain = identity.DefaultTrustDomain
	}
	if err := identity.CheckTrustDomain(f.trustDomain); err != nil {
		return newCA{}, &apperr.Error{Reason: apperr.Usage, What: err.Error(), Err: err}
	}
	now := options.Now()
	var err error
	if f.root, err = newRoot(f.trustDomain, now); err != nil {
		return newCA{}, fmt.Errorf("make a root certificate: %w", err)
	}
	key, err := newKey()
	if err != nil {
		return newCA{}, fmt.Errorf("make the issuer's key: %w", err)
	}
	if f.issuer, err = newIssuer(f.trustDomain, key, f.root, now); err != nil {
		return newCA{}, fmt.Errorf("make the issuer's certificate: %w", err)
	}
	_, _ = rand.Read(f.key) // never fails (crypto/rand)
	f.member = strings.ToLower(rand.Text()[:memberLength])
	return f, nil
}

// makeIn writes a new CA into dir, whose lock the caller holds. A marker is
// there as long as the set is not whole: what it finds beside a marker was
// left by a maker that was killed, and nobody has ever used it.
func makeIn(dir string, options Options) error {
	f, err := fresh(options)
	if err != nil {
		return err
	}
	files, err := f.files()
	if err != nil {
		return err
	}
	marker := filepath.Join(dir, makingFile)
	if _, err := os.Lstat(marker); err == nil {
		for _, file := range files {
			if err := os.Remove(filepath.Join(dir, file.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return cannotKeep(dir, err)
			}
		}
	} else if err := atomicfile.Write(marker, nil, 0o600); err != nil {
		return cannotKeep(dir, err)
	}
	for i, file := range files {
		if err := create(filepath.Join(dir, file.name), file.data); err != nil {
			unmake(dir, files[:i+1])
			return cannotKeep(dir, err)
		}
	}
	if err := os.Remove(marker); err != nil {
		return cannotKeep(dir, err)
	}
	return nil
}

// unmake removes what a failed makeIn has written, so that a disk that has
// space again is all that is needed.
func unmake(dir string, written []file) {
	for _, file := range written {
		if err := os.Remove(filepath.Join(dir, file.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // the marker stays and says what the rest is
		}
	}
	_ = os.Remove(filepath.Join(dir, makingFile)) // its staying does no harm
}

// create writes a file that must not exist and forces it to the disk.
func create(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // a file of the CA's folder
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

type file struct {
	name string
	data []byte
}

// files are what a CA looks like on disk, the root last.
func (f newCA) files() ([]file, error) {
	rootKey, err := pemKey(f.root)
	if err != nil {
		return nil, err
	}
	issuerKey, err := pemKey(f.issuer)
	if err != nil {
		return nil, err
	}
	return []file{
		{discoveryFile, []byte(hex.EncodeToString(f.key) + "\n")},
		{memberFile, []byte(f.member + "\n")},
		{rootKeyFile, rootKey},
		{issuerKeyFile, issuerKey},
		{issuerFile, pemCert(f.issuer.cert)},
		{rootFile, pemCert(f.root.cert)},
	}, nil
}

func pemCert(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func pemKey(p pair) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("write a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// cannotKeep is the error of a folder that cannot be written.
func cannotKeep(dir string, err error) error {
	cause := err
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		cause = path.Err
	}
	return &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   "the certificates cannot be kept in " + dir,
		Cause:  cause.Error(),
		Hint:   "set PILLION_HOME to a folder that can be written",
		Err:    err,
	}
}

// memory is the vault of an ephemeral CA.
type memory struct {
	root        pair
	trustDomain string

	mu      sync.Mutex // guards what follows
	current pair
}

func (m *memory) issuer() (pair, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current, nil
}

func (m *memory) renew(now time.Time) (pair, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	renewed, err := newIssuer(m.trustDomain, m.current.key, m.root, now)
	if err == nil {
		m.current = renewed
	}
	return renewed, err
}
