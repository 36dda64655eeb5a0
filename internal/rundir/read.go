package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/filelock"
)

const (
	lockExt   = ".lock"
	entryExt  = ".json"
	socketExt = ".sock"
	meshExt   = ".mesh"
	tempExt   = ".tmp"
	sweepLock = "sweep.lock"

	// maxEntry bounds what is read of one file.
	maxEntry = 1 << 20
	// mtimeGrain is the age below which a folder's time of change may hide a
	// second change. Memory file systems stamp with the tick of the kernel's
	// coarse clock (measured: created and deleted within it, 500 of 500 times
	// unseen); 20 ms is several ticks of the slowest.
	mtimeGrain = 20 * time.Millisecond
	// tempLife is how long a file that was never renamed may lie about.
	tempLife = time.Minute
)

// Version changes whenever Entries may have changed by something an instance
// did: it costs one stat. An instance that was killed changes nothing until
// somebody calls Entries. Take the version before the entries it stands for.
func (d *Dir) Version() uint64 {
	info, err := os.Stat(d.path)
	if err != nil {
		return 0
	}
	changed := info.ModTime()
	if age := time.Since(changed); age > -mtimeGrain && age < mtimeGrain {
		// The same time may come to mean something else: no version yet.
		return d.unstable.Add(1) | 1<<63
	}
	return uint64(changed.UnixNano()) &^ (1 << 63)
}

// Entries returns the live instances, oldest first, and sweeps away the files
// of dead ones. A folder that is gone has none.
func (d *Dir) Entries() ([]Entry, error) {
	files, err := os.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the running instances: %w", err)
	}
	var entries []Entry
	dead := map[string]bool{}
	for _, f := range files {
		id, ext, ok := split(f.Name())
		if !ok {
			d.sweepTemp(f)
			continue
		}
		if ext != entryExt {
			dead[id] = dead[id] || false // to be looked at unless it has an entry
			continue
		}
		entry, alive := d.read(id)
		dead[id] = !alive
		if alive && entry.ID == id {
			entries = append(entries, entry)
		}
	}
	d.sweep(dead, entries)
	slices.SortStableFunc(entries, func(a, b Entry) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return entries, nil
}

// read returns the entry of id and whether its owner lives. An owner whose
// file cannot be read lives, with an empty entry.
func (d *Dir) read(id string) (Entry, bool) {
	held, err := filelock.Held(d.file(id, lockExt))
	if err == nil && !held {
		return Entry{}, false
	}
	f, err := os.Open(d.file(id, entryExt))
	if err != nil {
		return Entry{}, true
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxEntry))
	if err != nil {
		return Entry{}, true
	}
	var entry Entry
	if json.Unmarshal(data, &entry) != nil {
		return Entry{}, true
	}
	return entry, true
}

// sweep removes the files of instances that have no owner.
func (d *Dir) sweep(ids map[string]bool, alive []Entry) {
	for _, e := range alive {
		delete(ids, e.ID)
	}
	for id, dead := range ids {
		if dead {
			continue
		}
		// A lock or a socket without an entry: an instance that is just
		// starting, or one that was killed while it was.
		if held, err := filelock.Held(d.file(id, lockExt)); err != nil || held {
			delete(ids, id)
		}
	}
	if len(ids) == 0 {
		return
	}
	// One sweeper at a time: of two, the second could take away what an owner
	// has put in the place of what the first removed.
	broom, err := filelock.TryLock(filepath.Join(d.path, sweepLock))
	if err != nil {
		return // the other one does it
	}
	defer func() { _ = broom.Unlock() }()
	for id := range ids {
		whileDead(d.file(id, lockExt), func() { d.remove(id) })
	}
}

// remove removes all files of id, the entry first, so that nobody reads an
// entry whose lock is on its way out. Leftovers are swept by the next reader.
func (d *Dir) remove(id string) {
	_ = os.Remove(d.file(id, entryExt))
	for _, ext := range []string{socketExt, meshExt} {
		_ = os.Remove(d.file(id, ext))
		_ = os.Remove(d.shortSocket(id, ext))
	}
	_ = os.Remove(d.file(id, lockExt))
}

// sweepTemp removes an entry that was written and never renamed.
func (d *Dir) sweepTemp(f fs.DirEntry) {
	if !strings.HasSuffix(f.Name(), tempExt) {
		return
	}
	if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > tempLife {
		_ = os.Remove(filepath.Join(d.path, f.Name()))
	}
}

func (d *Dir) file(id, ext string) string { return filepath.Join(d.path, id+ext) }

// split takes the name of an instance's file apart.
func split(name string) (id, ext string, ok bool) {
	ext = filepath.Ext(name)
	id = strings.TrimSuffix(name, ext)
	switch ext {
	case lockExt, entryExt, socketExt, meshExt:
		return id, ext, IsID(id)
	}
	return "", "", false
}
