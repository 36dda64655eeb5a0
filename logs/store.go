package logs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/tls/identity"
)

const (
	runFile     = "run.json"
	lockFile    = "lock"
	lastFile    = "last"  // of an app: the highest number that was dropped
	sweepLock   = ".lock" // of the store
	maxRunFile  = 1 << 20
	maxLastFile = 64
)

// A Store is a folder of runs. Its methods are safe for concurrent use, by
// several processes too.
type Store struct {
	dir    string
	limits Limits
}

// Open returns the store in dir. It creates nothing: a store nobody wrote to
// is an empty one.
func Open(dir string, limits Limits) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	return &Store{dir: abs, limits: limits.withDefaults()}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// Apps lists the apps that have runs, by namespace and name.
func (s *Store) Apps() ([]App, error) {
	var apps []App
	namespaces, err := folders(s.dir, identity.CheckNamespace)
	if err != nil {
		return nil, fmt.Errorf("read logs: %w", err)
	}
	for _, ns := range namespaces {
		names, err := folders(filepath.Join(s.dir, ns), identity.CheckAppID)
		if err != nil {
			return nil, fmt.Errorf("read logs: %w", err)
		}
		for _, name := range names {
			if numbers, err := runNumbers(s.appDir(ns, name)); err == nil && len(numbers) > 0 {
				apps = append(apps, App{Namespace: ns, Name: name})
			}
		}
	}
	return apps, nil
}

// Runs lists the runs of an app, newest last. An app nobody ran has none.
func (s *Store) Runs(app App) ([]RunInfo, error) { return s.Newer(app, 0) }

// Newer is Runs for those with a higher number than given.
func (s *Store) Newer(app App, number int) ([]RunInfo, error) {
	dir := s.appDir(app.Namespace, app.Name)
	numbers, err := runNumbers(dir)
	if err != nil {
		return nil, fmt.Errorf("read the runs of %s: %w", app.Name, err)
	}
	var runs []RunInfo
	for _, n := range numbers {
		if n <= number {
			continue
		}
		run, err := loadRun(filepath.Join(dir, strconv.Itoa(n)))
		switch {
		case err == nil:
			runs = append(runs, run)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read run %d of %s: %w", n, app.Name, err)
		}
	}
	return runs, nil
}

func (s *Store) appDir(namespace, app string) string {
	return filepath.Join(s.dir, cmp.Or(namespace, identity.DefaultNamespace), app)
}

// folders lists the folders in dir whose names pass the check.
func folders(dir string, check func(string) error) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && check(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// runNumbers lists the numbers of the runs in an app's folder, lowest first.
func runNumbers(dir string) ([]int, error) {
	names, err := folders(dir, checkNumber)
	if err != nil {
		return nil, err
	}
	numbers := make([]int, len(names))
	for i, name := range names {
		numbers[i], _ = strconv.Atoi(name) // checkNumber has
	}
	slices.Sort(numbers)
	return numbers, nil
}

func checkNumber(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 || strconv.Itoa(n) != s {
		return fmt.Errorf("%q is not the number of a run", s)
	}
	return nil
}

// loadRun reads what a run's folder says of it. A folder that says nothing,
// because it is being made or dropped, does not exist.
func loadRun(dir string) (RunInfo, error) {
	path := filepath.Join(dir, runFile)
	info, err := os.Stat(path)
	if err != nil {
		return RunInfo{}, err
	}
	var run RunInfo
	data, err := readSmall(path, maxRunFile)
	if err != nil {
		return RunInfo{}, err
	}
	if err := json.Unmarshal(data, &run); err != nil {
		return RunInfo{}, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	run.dir = dir
	// The folder is the truth: a file copied from elsewhere cannot name
	// another run.
	run.Run, _ = strconv.Atoi(filepath.Base(dir))
	run.App = filepath.Base(filepath.Dir(dir))
	run.Namespace = filepath.Base(filepath.Dir(filepath.Dir(dir)))
	if !run.End.IsZero() {
		run.State = Ended
		return run, nil
	}
	if held, err := filelock.Held(filepath.Join(dir, lockFile)); err == nil && held {
		return run, nil
	}
	// The writer may have ended between the two looks.
	if data, err := readSmall(path, maxRunFile); err == nil {
		var again RunInfo
		if json.Unmarshal(data, &again) == nil && !again.End.IsZero() {
			run.End, run.Exit, run.LostLines, run.State = again.End, again.Exit, again.LostLines, Ended
			return run, nil
		}
	}
	run.State = Lost
	run.End = info.ModTime()
	if numbers, err := segmentNumbers(dir); err == nil && len(numbers) > 0 {
		if last, err := os.Stat(segmentPath(dir, numbers[len(numbers)-1], logExt)); err == nil {
			run.End = last.ModTime()
		}
	}
	return run, nil
}

// readSmall reads a file that is not larger than limit.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // a file of the store
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	if info, err := f.Stat(); err != nil || info.Size() > limit {
		return nil, errors.Join(err, fmt.Errorf("%s is larger than %d bytes", path, limit))
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
