package rundir

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/filelock"
)

const (
	// idLength and idLetters are those of an instance's id.
	idLength  = 8
	idLetters = "abcdefghijklmnopqrstuvwxyz234567"

	// maxSocket is the longest path of a socket: sun_path has 104 bytes on
	// macOS and 108 on Linux, with a zero at the end, and some room.
	maxSocket = 100

	// checkEvery is how often Run looks whether the files are still there, and
	// touchEvery how often it makes them look used: systemd's rule for
	// runtime folders removes what was not touched for six hours.
	checkEvery = 2 * time.Second
	touchEvery = time.Hour
)

// A Registration is the live entry of one instance. It is safe for concurrent
// use. It ends with Close, or with the process, however that ends.
type Registration struct {
	dir      *Dir
	restored chan struct{}

	mu      sync.Mutex // guards what follows
	entry   Entry
	lock    *filelock.File
	touched time.Time
	unsaid  bool // the file does not say what the entry does
	opened  bool // there is a socket
	closed  bool
}

// IsID reports whether s has the form of an instance's id.
func IsID(s string) bool {
	if len(s) != idLength {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Register makes an instance visible and locks its files for the life of this
// process. An empty ID gets a new one; the socket's path is filled in. The
// socket itself is for the caller to open.
func (d *Dir) Register(entry Entry) (*Registration, error) {
	if entry.ID == "" {
		entry.ID = newID()
	}
	if !IsID(entry.ID) {
		return nil, fmt.Errorf("register an instance: %q is not an instance id", entry.ID)
	}
	if err := d.ensure(); err != nil {
		return nil, err
	}
	socket, err := d.socket(entry.ID, socketExt)
	if err != nil {
		return nil, err
	}
	entry.Socket, entry.Lock = socket, d.file(entry.ID, lockExt)
	entry.Changed = time.Now().UTC()
	entry.Mesh, entry.Command = slices.Clone(entry.Mesh), slices.Clone(entry.Command)

	r := &Registration{dir: d, entry: entry, restored: make(chan struct{}, 1), touched: time.Now()}
	if r.lock, err = filelock.TryLock(d.file(entry.ID, lockExt)); err != nil {
		return nil, unwritable(d.path, err)
	}
	if err := d.write(entry); err != nil {
		d.remove(entry.ID)
		_ = r.lock.Unlock()
		return nil, unwritable(d.path, err)
	}
	return r, nil
}

// Entry returns what others read.
func (r *Registration) Entry() Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.entry
	entry.Mesh, entry.Command = slices.Clone(entry.Mesh), slices.Clone(entry.Command)
	return entry
}

// SocketMoved reports whether the socket lies outside the folder, because its
// path there would be too long for a socket.
func (r *Registration) SocketMoved() bool {
	e := r.Entry()
	return e.Socket != r.dir.file(e.ID, socketExt)
}

// MeshSocket is the path for the mesh's socket, in a folder that exists. Its
// owner opens it and says so in the entry; it is removed with the instance.
func (r *Registration) MeshSocket() (string, error) {
	return r.dir.socket(r.Entry().ID, meshExt)
}

// Update changes the entry and writes it. ID, socket and lock stay what they are.
// If it cannot be written the change is kept, and Run writes it later.
func (r *Registration) Update(change func(*Entry)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, socket, lock := r.entry.ID, r.entry.Socket, r.entry.Lock
	change(&r.entry)
	r.entry.ID, r.entry.Socket, r.entry.Lock = id, socket, lock
	r.entry.Changed = time.Now().UTC()
	if r.closed {
		return nil
	}
	err := r.dir.write(r.entry)
	r.unsaid = err != nil
	return err
}

// Close makes the instance invisible and releases its files.
func (r *Registration) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	r.dir.remove(r.entry.ID)
	err := r.lock.Unlock()
	// Where an open file cannot be removed, it can now.
	_ = os.Remove(r.dir.file(r.entry.ID, lockExt))
	return err
}

// Run keeps the entry in its place until ctx ends: a folder may be removed at
// logout or by a cleaner while its instances live on.
func (r *Registration) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			// What cannot be restored now is tried again at the next tick.
			_, _ = r.Check()
		}
	}
}

// SocketOpened says that the socket's owner has opened it: from now on Check
// notices when it is gone.
func (r *Registration) SocketOpened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened = true
}

// Restored receives a value after Check or Run has put the files back: the
// socket has to be opened again by its owner.
func (r *Registration) Restored() <-chan struct{} { return r.restored }

// Check puts the entry and its lock back if they are gone, or if they could not
// be written before. It reports whether it did, or whether the socket that was
// opened is gone: its owner has to open it again.
func (r *Registration) Check() (restored bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, nil
	}
	lock, entry := r.dir.file(r.entry.ID, lockExt), r.dir.file(r.entry.ID, entryExt)
	whole := exists(lock) && exists(entry) && !r.unsaid
	if whole && (!r.opened || exists(r.entry.Socket)) {
		r.touch(lock, entry)
		return false, nil
	}
	if err := r.dir.ensure(); err != nil {
		return false, err
	}
	if _, err := r.dir.socket(r.entry.ID, socketExt); err != nil { // its folder may be another one
		return false, err
	}
	if whole {
		r.tell()
		return true, nil
	}
	if !exists(lock) {
		fresh, err := filelock.TryLock(lock)
		if err != nil {
			return false, unwritable(r.dir.path, err)
		}
		_ = r.lock.Unlock() // of a file nobody can see any more
		r.lock = fresh
	}
	if err := r.dir.write(r.entry); err != nil {
		return false, unwritable(r.dir.path, err)
	}
	r.unsaid = false
	r.tell()
	return true, nil
}

// tell has the socket opened again.
func (r *Registration) tell() {
	select {
	case r.restored <- struct{}{}:
	default: // the one before has not been taken yet
	}
}

// touch makes the files look used. Callers hold mu.
func (r *Registration) touch(files ...string) {
	now := time.Now()
	if now.Sub(r.touched) < touchEvery {
		return
	}
	r.touched = now
	for _, f := range append(files, r.entry.Socket) {
		_ = os.Chtimes(f, now, now) // a cleaner's victim is put back anyway
	}
}

// write replaces the file of an entry. It is not synced: what a power cut
// leaves of it has no owner.
func (d *Dir) write(entry Entry) error {
	data, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("write the instance's entry: %w", err)
	}
	temp := d.file(entry.ID+"-"+newID(), tempExt)
	err = os.WriteFile(temp, append(data, '\n'), 0o600)
	if err == nil {
		err = os.Rename(temp, d.file(entry.ID, entryExt))
	}
	if err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("write the instance's entry: %w", err)
	}
	return nil
}

// socket is the path of one of id's sockets, in a folder that exists.
func (d *Dir) socket(id, ext string) (string, error) {
	path := d.file(id, ext)
	if len(path) <= maxSocket {
		return path, nil
	}
	path = d.shortSocket(id, ext)
	for _, dir := range []string{shortBase(), filepath.Dir(path)} {
		if err := ensurePrivate(dir, 0o022); err != nil {
			return "", err
		}
	}
	return path, nil
}

// shortSocket is id's socket outside of the folder. Two folders of this user
// do not meet there.
func (d *Dir) shortSocket(id, ext string) string {
	sum := sha256.Sum256([]byte(d.path))
	return filepath.Join(shortBase(), "s"+hex.EncodeToString(sum[:6]), id+ext)
}

func newID() string {
	var random [idLength]byte
	_, _ = rand.Read(random[:]) // it never fails
	for i, b := range random {
		random[i] = idLetters[int(b)%len(idLetters)]
	}
	return string(random[:])
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func unwritable(path string, err error) error {
	return &apperr.Error{
		Reason: apperr.OwnConfig,
		What:   fmt.Sprintf("nothing can be written into the runtime folder %s", path),
		Cause:  cause(err),
		Hint:   "make room, or set PILLION_RUNTIME_DIR to a folder of your own",
		Err:    err,
	}
}
