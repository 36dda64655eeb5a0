package ca_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/tls/ca"
)

var allFiles = []string{"ca.crt", "ca.key", "issuer.crt", "issuer.key", "discovery.key", "member"}

func TestEnsureMakesOnceAndOpensAfterwards(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "home", "certs")
	if _, err := ca.Open(dir, ca.Options{}); !errors.Is(err, ca.ErrNotMade) {
		t.Errorf("Open of nothing = %v, want ErrNotMade", err)
	}
	first, made, err := ca.Ensure(t.Context(), dir, ca.Options{})
	if err != nil || !made {
		t.Fatalf("Ensure = made %v, %v", made, err)
	}
	second, made, err := ca.Ensure(t.Context(), dir, ca.Options{})
	if err != nil || made {
		t.Fatalf("the second Ensure = made %v, %v", made, err)
	}
	if first.Fingerprint() != second.Fingerprint() || first.Member() != second.Member() ||
		string(first.DiscoveryKey()) != string(second.DiscoveryKey()) {
		t.Error("the second Ensure gives another CA")
	}
	for _, folder := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, %v, want 0700", folder, info.Mode(), err)
		}
	}
	for _, name := range allFiles {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v, want 0600", name, info, err)
		}
	}
}

func TestEachDamagedFileIsNamedAndNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	damages := map[string]func(t *testing.T, path string){
		"empty":   func(t *testing.T, path string) { write(t, path, "") },
		"garbage": func(t *testing.T, path string) { write(t, path, "\x00garbage\xff") },
		"half": func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, string(data[:len(data)/2]))
		},
		"missing": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"of another CA": func(t *testing.T, path string) {
			other := t.TempDir()
			ensure(t, other, ca.Options{})
			data, err := os.ReadFile(filepath.Join(other, filepath.Base(path)))
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, string(data))
		},
	}
	for _, name := range allFiles {
		for damage, do := range damages {
			if damage == "missing" && name == "ca.key" {
				continue // may be kept elsewhere
			}
			if damage == "of another CA" && (name == "discovery.key" || name == "member") {
				continue // nobody could tell
			}
			t.Run(damage+" "+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				ensure(t, dir, ca.Options{})
				do(t, filepath.Join(dir, name))
				before := snapshot(t, dir)
				_, made, err := ca.Ensure(t.Context(), dir, ca.Options{})
				var e *apperr.Error
				if made || !errors.As(err, &e) || e.Reason != apperr.OwnConfig {
					t.Fatalf("Ensure = made %v, %v, want an error of configuration", made, err)
				}
				// A pair that does not fit may be blamed on either half.
				either := strings.TrimSuffix(strings.TrimSuffix(name, ".crt"), ".key")
				if !strings.Contains(e.What, filepath.Join(dir, either)) && (name != "ca.crt" || !strings.Contains(e.Error(), name)) {
					t.Errorf("the error does not name %s: %v", name, e)
				}
				if !strings.Contains(e.Hint, "rm -r "+dir) {
					t.Errorf("the hint is no repair: %q", e.Hint)
				}
				if after := snapshot(t, dir); after != before {
					t.Errorf("files changed from\n%s\nto\n%s", before, after)
				}
			})
		}
	}
}

func TestRootKeyMayBeKeptElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ensure(t, dir, ca.Options{})
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	c := ensure(t, dir, ca.Options{})
	if _, err := c.Sign(csr(t, newKey(t), nil), todo(t), 0); err != nil {
		t.Errorf("Sign without the root's key = %v", err)
	}
	later := ensure(t, dir, ca.Options{Now: at(time.Now().Add(400 * 24 * time.Hour))})
	_, err := later.Sign(csr(t, newKey(t), nil), todo(t), 0)
	if !apperr.Is(err, apperr.CertNotValid) || !strings.Contains(err.Error(), "ca.key is missing") {
		t.Errorf("Sign with an expired issuer and no root key = %v, want both said", err)
	}
}

func TestIssuerKeyIsReadForEachSignature(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := ensure(t, dir, ca.Options{})
	write(t, filepath.Join(dir, "issuer.key"), "gone")
	if _, err := c.Sign(csr(t, newKey(t), nil), todo(t), 0); !apperr.Is(err, apperr.OwnConfig) {
		t.Errorf("Sign without the issuer's key on disk = %v, want an error", err)
	}
}

func TestKeyThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ensure(t, dir, ca.Options{})
	path := filepath.Join(dir, "issuer.key")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ca.Open(dir, ca.Options{})
	var e *apperr.Error
	if !errors.As(err, &e) || e.Hint != "chmod 600 "+path {
		t.Errorf("Open = %v, want the hint chmod 600", err)
	}
}

func TestOtherTrustDomainIsNotTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := ensure(t, dir, ca.Options{TrustDomain: "team.example"})
	if c.TrustDomain() != "team.example" {
		t.Errorf("TrustDomain = %s", c.TrustDomain())
	}
	if again := ensure(t, dir, ca.Options{}); again.TrustDomain() != "team.example" {
		t.Errorf("TrustDomain without an option = %s", again.TrustDomain())
	}
	if _, err := ca.Open(dir, ca.Options{TrustDomain: "public"}); !apperr.Is(err, apperr.OwnConfig) {
		t.Errorf("Open for another trust domain = %v, want an error of configuration", err)
	}
	if _, _, err := ca.Ensure(t.Context(), t.TempDir(), ca.Options{TrustDomain: "Not A Domain"}); !apperr.Is(err, apperr.Usage) {
		t.Errorf("Ensure for no trust domain = %v, want a usage error", err)
	}
}

func TestInterruptedMakingIsBegunAgain(t *testing.T) {
	t.Parallel()
	for n := range len(allFiles) + 1 {
		whole := t.TempDir()
		ensure(t, whole, ca.Options{})
		dir := t.TempDir()
		write(t, filepath.Join(dir, ".making"), "")
		for _, name := range allFiles[len(allFiles)-n:] {
			data, err := os.ReadFile(filepath.Join(whole, name))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), string(data[:len(data)/2]))
		}
		if _, err := ca.Open(dir, ca.Options{}); !errors.Is(err, ca.ErrNotMade) {
			t.Errorf("Open after %d files = %v, want ErrNotMade", n, err)
		}
		if _, made, err := ca.Ensure(t.Context(), dir, ca.Options{}); err != nil || !made {
			t.Errorf("Ensure after %d files = made %v, %v", n, made, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, ".making")); err == nil {
			t.Error("the marker is still there")
		}
	}
}

func TestRootNotYetValidNamesTheClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ensure(t, dir, ca.Options{Now: at(time.Now().Add(25 * time.Hour))})
	_, err := ca.Open(dir, ca.Options{})
	if !apperr.Is(err, apperr.CertNotValid) || !strings.Contains(err.Error(), "clock") {
		t.Errorf("Open = %v, want it to name the clock", err)
	}
	ahead := t.TempDir()
	ensure(t, ahead, ca.Options{Now: at(time.Now().Add(time.Hour))})
	if _, err := ca.Open(ahead, ca.Options{}); err != nil {
		t.Errorf("Open of a CA made an hour ahead = %v, want it to work", err)
	}
}

func TestExpiredRootSaysHowToGetANewOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ensure(t, dir, ca.Options{Now: at(time.Now().Add(-11 * 365 * 24 * time.Hour))})
	_, err := ca.Open(dir, ca.Options{})
	if !apperr.Is(err, apperr.CertNotValid) || !strings.Contains(err.Error(), "rm -r "+dir) {
		t.Errorf("Open = %v, want the repair", err)
	}
}

func TestEnsureWaitsOnlyAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := filelock.TryLock(filepath.Join(dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Unlock() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := ca.Ensure(ctx, dir, ca.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ensure beside a maker that hangs = %v, want the deadline", err)
	}
}

func TestFolderThatCannotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "file")
	write(t, dir, "not a folder")
	_, _, err := ca.Ensure(t.Context(), filepath.Join(dir, "certs"), ca.Options{})
	if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Ensure = %v, want an error of configuration that names %s", err, dir)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// snapshot is every file of dir with its content; the lock holds none.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(e.Name() + ": " + string(data) + "\n")
	}
	return b.String()
}
