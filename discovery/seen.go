package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/atomicfile"
)

const (
	// seenFresh is how long an app that answered is expected to come back,
	// and seenKept how long it is remembered that there was one.
	seenFresh = 24 * time.Hour
	seenKept  = 30 * 24 * time.Hour
	// seenGrain is how exactly times are kept, and how often they are
	// written. The first time of an app is written after seenSoon.
	seenGrain = time.Minute
	seenSoon  = time.Second
	// maxSeen apps are kept, and maxSeenFile bytes read.
	maxSeen     = 4096
	maxSeenFile = 1 << 20
)

// Seen remembers which apps have answered this trust domain, across runs, in a
// file that the processes of one home share: what one of them has written the
// others know at their next question. A nil Seen remembers nothing. It
// is safe for concurrent use.
type Seen struct {
	path string
	now  func() time.Time
	wake chan struct{}

	mu    sync.RWMutex // guards what follows
	times map[Key]time.Time
	dirty bool
	read  os.FileInfo // of the file that was read last; nil: none
}

// OpenSeen reads the file at path, which need not exist. A file that does not
// parse is a memory lost, not an error.
func OpenSeen(path string) (*Seen, error) {
	s := &Seen{path: path, now: time.Now, wake: make(chan struct{}, 1), times: map[Key]time.Time{}}
	if err := s.merge(); err != nil {
		return nil, err
	}
	return s, nil
}

// Note remembers that key answered just now. It does no I/O.
func (s *Seen) Note(key Key) {
	if s == nil {
		return
	}
	now := s.now()
	s.mu.RLock()
	last, ok := s.times[key]
	s.mu.RUnlock()
	if age := now.Sub(last); ok && age >= 0 && age < seenGrain {
		return
	}
	s.mu.Lock()
	s.times[key] = now
	s.dirty = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Lately reports whether key answered within the last day.
func (s *Seen) Lately(key Key) bool { return s.within(key, seenFresh) }

// Ever reports whether it is remembered that key answered.
func (s *Seen) Ever(key Key) bool { return s.within(key, seenKept) }

func (s *Seen) within(key Key, age time.Duration) bool {
	if s == nil {
		return false
	}
	if s.remembers(key, age) {
		return true
	}
	// Another process of this home may know better.
	return s.changed() && s.merge() == nil && s.remembers(key, age)
}

func (s *Seen) remembers(key Key, age time.Duration) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	last, ok := s.times[key]
	return ok && s.now().Sub(last) < age
}

// changed reports whether the file is not the one that was read last.
func (s *Seen) changed() bool {
	now, err := os.Stat(s.path)
	if err != nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.read == nil || !os.SameFile(s.read, now) || s.read.Size() != now.Size() || !s.read.ModTime().Equal(now.ModTime())
}

// Run writes what is new, at most each minute, until ctx ends, and then once
// more. A file that cannot be written is a memory lost.
func (s *Seen) Run(ctx context.Context) error {
	if s == nil {
		<-ctx.Done()
		return nil
	}
	defer func() { _ = s.Flush() }()
	pause := seenSoon
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		_ = s.Flush()
		pause = seenGrain
	}
}

// Flush writes what is new and takes over what other processes wrote. It does
// nothing if nothing is new.
func (s *Seen) Flush() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = false
	s.mu.Unlock()
	if !dirty {
		return nil
	}
	err := s.merge()
	if err == nil {
		err = s.write()
	}
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	return err
}

// merge takes over the newer times of the file, but for those to come: the clock
// was wrong.
func (s *Seen) merge() error {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read which apps have answered: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read which apps have answered: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSeenFile))
	if err != nil {
		return fmt.Errorf("read which apps have answered: %w", err)
	}
	var file map[string]time.Time
	_ = json.Unmarshal(data, &file) // a memory lost
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = info
	for name, at := range file {
		key, ok := parseKey(name)
		if ok && at.After(s.times[key]) && !at.After(now) {
			s.times[key] = at
		}
	}
	return nil
}

func (s *Seen) write() error {
	s.mu.Lock()
	s.prune()
	file := make(map[string]time.Time, len(s.times))
	for key, at := range s.times {
		file[key.String()] = at.UTC().Truncate(time.Second)
	}
	s.mu.Unlock()
	data, err := json.MarshalIndent(file, "", "\t")
	if err != nil {
		return fmt.Errorf("write which apps have answered: %w", err)
	}
	if err := atomicfile.Write(s.path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write which apps have answered: %w", err)
	}
	return nil
}

// prune forgets what is too old or too much. Callers hold mu.
func (s *Seen) prune() {
	now := s.now()
	maps.DeleteFunc(s.times, func(_ Key, at time.Time) bool { return now.Sub(at) >= seenKept })
	if len(s.times) <= maxSeen {
		return
	}
	keys := slices.SortedFunc(maps.Keys(s.times), func(a, b Key) int { return s.times[b].Compare(s.times[a]) })
	for _, key := range keys[maxSeen:] {
		delete(s.times, key)
	}
}

// parseKey reads what Key.String wrote. An app ID has no dot.
func parseKey(s string) (Key, bool) {
	app, namespace, ok := strings.Cut(s, ".")
	return Key{Namespace: namespace, App: app}, ok && app != "" && namespace != ""
}
