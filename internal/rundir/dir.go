package rundir

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// trustLength is the length of a trust folder's name: 8 hex digits of the
// root's fingerprint.
const trustLength = 8

// A Dir is the runtime folder of one trust domain. It holds nothing open and
// is safe for concurrent use.
type Dir struct {
	path string
	// unstable numbers the answers of Version that are no lasting ones.
	unstable atomic.Uint64
}

// Base returns the folder that holds one folder for each trust domain. It
// reads PILLION_RUNTIME_DIR, then what the system has for the runtime files of
// one user, and creates nothing.
func Base(getenv func(string) string) string {
	if dir := getenv("PILLION_RUNTIME_DIR"); dir != "" {
		return filepath.Clean(dir)
	}
	return systemBase(getenv)
}

// Open makes the folder of one trust domain below base where it does not exist
// yet, and checks that both belong to this user and nobody else may write in
// them. A folder that fails is an error that names its owner. trust is the
// first 8 hex digits of the root's fingerprint.
func Open(base, trust string) (*Dir, error) {
	if !isTrust(trust) {
		return nil, fmt.Errorf("open the runtime folder: %q is not 8 hex digits of a root", trust)
	}
	if !filepath.IsAbs(base) {
		return nil, &apperr.Error{
			Reason: apperr.OwnConfig,
			What:   fmt.Sprintf("the runtime folder %q is not an absolute path", base),
			Hint:   "set PILLION_RUNTIME_DIR to an absolute path",
		}
	}
	d := &Dir{path: filepath.Join(base, trust)}
	if err := d.ensure(); err != nil {
		return nil, err
	}
	return d, nil
}

// ensure makes and checks the folder and the one above it.
func (d *Dir) ensure() error {
	if err := ensurePrivate(filepath.Dir(d.path), 0o022); err != nil {
		return err
	}
	return ensurePrivate(d.path, 0o077)
}

// Path is the folder's path.
func (d *Dir) Path() string { return d.path }

// Trusts lists the trust domains that have a folder below base, by the 8 hex
// digits of their roots, in order. A base that does not exist has none.
func Trusts(base string) ([]string, error) {
	found, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the trust domains: %w", err)
	}
	var trusts []string
	for _, f := range found {
		if f.IsDir() && isTrust(f.Name()) {
			trusts = append(trusts, f.Name())
		}
	}
	return trusts, nil
}

func isTrust(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == trustLength
}

// ensurePrivate makes path with mode 0700 where it does not exist, and returns
// an error unless it is a folder of this user without any of the forbidden
// mode bits.
func ensurePrivate(path string, forbidden fs.FileMode) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return &apperr.Error{
			Reason: apperr.OwnConfig,
			What:   fmt.Sprintf("the runtime folder %s cannot be made", path),
			Cause:  cause(err),
			Hint:   "set PILLION_RUNTIME_DIR to a folder of your own",
			Err:    err,
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("check the runtime folder: %w", err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return refused(path, "it is a symbolic link", "remove it")
	}
	if !info.IsDir() {
		return refused(path, "it is not a folder", "remove it")
	}
	if owner, ours := ownedByUs(info); !ours {
		return refused(path, "it belongs to "+owner, "set PILLION_RUNTIME_DIR to a folder of your own")
	}
	if bad := modeBits(info) & forbidden; bad != 0 {
		return refused(path,
			fmt.Sprintf("other users may use it: its mode is %04o", info.Mode().Perm()),
			"run: chmod 700 "+strconv.Quote(path))
	}
	return nil
}

func refused(path, why, hint string) error {
	return &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   fmt.Sprintf("the runtime folder %s is not safe to use", path),
		Cause:  why,
		Hint:   hint,
	}
}

// cause is what the system said, without the path that the sentence has.
func cause(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Path + ": " + path.Err.Error()
	}
	return err.Error()
}
