package logs

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/pillion-dev/pillion/internal/atomicfile"
	"github.com/pillion-dev/pillion/internal/filelock"
)

const (
	// diskBlock is what a file of any size takes on a usual disk.
	diskBlock = 4096
	// leftover is how old a folder is that its maker has forgotten.
	leftover = time.Minute
)

// sweep drops the runs that the limits no longer allow, never a live one. If
// another process is at it already, it does nothing. Nothing depends on it:
// what cannot be dropped now is tried again at the next run.
func (s *Store) sweep() {
	lock, err := filelock.TryLock(filepath.Join(s.dir, sweepLock))
	if err != nil {
		return
	}
	defer func() { _ = lock.Unlock() }() // released with the process anyway
	apps, err := s.Apps()
	if err != nil {
		return
	}
	var candidates []candidate
	var total int64
	for _, app := range apps {
		ended, size := s.inspect(app)
		total += size
		candidates = append(candidates, ended...)
	}
	slices.SortStableFunc(candidates, candidate.compare)
	for _, c := range candidates {
		if !c.surplus && total <= s.limits.Total {
			continue
		}
		if drop(c.run) == nil {
			total -= c.size
		}
	}
}

// A candidate is an ended run that may be dropped.
type candidate struct {
	run     RunInfo
	size    int64
	newest  bool // of its app: dropped last
	surplus bool // dropped in any case
}

// compare orders candidates by how soon they are dropped.
func (c candidate) compare(d candidate) int {
	if c.newest != d.newest {
		if d.newest {
			return -1
		}
		return 1
	}
	return cmp.Or(c.run.End.Compare(d.run.End), cmp.Compare(c.run.Run, d.run.Run))
}

// inspect lists the runs of an app that may be dropped, and the size of all.
func (s *Store) inspect(app App) ([]candidate, int64) {
	dir := s.appDir(app.Namespace, app.Name)
	numbers, err := runNumbers(dir)
	if err != nil {
		return nil, 0
	}
	var ended []candidate
	var total int64
	for i, n := range numbers {
		path := filepath.Join(dir, strconv.Itoa(n))
		size := folderSize(path)
		total += size
		run, err := loadRun(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if abandoned(path) {
				ended = append(ended, candidate{run: RunInfo{Run: n, dir: path}, size: size, surplus: true})
			}
		case err == nil && run.State != Live:
			ended = append(ended, candidate{
				run: run, size: size,
				newest:  i == len(numbers)-1,
				surplus: len(numbers)-i > s.limits.Runs,
			})
		}
	}
	return ended, total
}

// abandoned reports whether a folder without a run.json is nobody's: neither
// being made nor in use.
func abandoned(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || time.Since(info.ModTime()) < leftover {
		return false
	}
	held, err := filelock.Held(filepath.Join(dir, lockFile))
	return err == nil && !held
}

// drop removes a run. Its number is written down first, so that no other run
// gets it; run.json goes before the rest, so that nobody sees half a run.
func drop(run RunInfo) error {
	app := filepath.Dir(run.dir)
	last, err := lastNumber(app)
	if err != nil {
		return err
	}
	path, number := filepath.Join(app, lastFile), strconv.Itoa(last)
	if known, err := readSmall(path, maxLastFile); err != nil || string(known) != number {
		if err := atomicfile.Write(path, []byte(number), 0o600); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(run.dir, runFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(run.dir)
}

// folderSize is about what the files in dir take on the disk.
func folderSize(dir string) int64 {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += (info.Size() + diskBlock - 1) / diskBlock * diskBlock
		}
	}
	return total
}
