// Package filelock locks files for one process at a time: flock on Unix,
// LockFileEx on Windows. A lock is a file of its own that holds no data and is
// never replaced. The system releases it when its owner ends, however it ends,
// and no child process inherits it.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// ErrLocked is returned by TryLock if somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// errWouldBlock is what a platform's lock returns for a lock that is taken.
var errWouldBlock = errors.New("would block")

// mode is shared or exclusive.
type mode uint8

const (
	shared mode = iota
	exclusive
)

const (
	firstPause = time.Millisecond
	maxPause   = 100 * time.Millisecond
	// probes is how often TryLock gives way to a Held of somebody else, which
	// lasts for microseconds, or until a busy machine gives it time again: for
	// some ten seconds in all.
	probes = 100
)

// A File is a lock that is held. Its methods are not safe for concurrent use.
type File struct {
	file *os.File
}

// Lock waits until it holds the file at path exclusively or ctx ends; then it
// returns ctx's cause. It creates the file with mode 0600 if there is none. It
// looks at first each millisecond, later each 100 ms. Two Locks of one process
// exclude each other like those of two processes.
func Lock(ctx context.Context, path string) (*File, error) {
	pause := firstPause
	for {
		l, err := attempt(path)
		if err == nil || !errors.Is(err, errWouldBlock) {
			return l, err
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("lock %s: %w", path, context.Cause(ctx))
		case <-t.C:
		}
		pause = min(2*pause, maxPause)
	}
}

// TryLock is Lock without waiting: if somebody holds the lock it returns an
// error that is ErrLocked. A Held that is going on does not count.
func TryLock(path string) (*File, error) {
	pause := firstPause
	for range probes {
		l, err := attempt(path)
		if err == nil || !errors.Is(err, errWouldBlock) {
			return l, err
		}
		if held, err := Held(path); err != nil {
			return nil, err
		} else if held {
			return nil, fmt.Errorf("lock %s: %w", path, ErrLocked)
		}
		time.Sleep(pause) // it was a probe, or has just been released
		pause = min(2*pause, maxPause)
	}
	return nil, fmt.Errorf("lock %s: %w", path, ErrLocked)
}

// Held reports whether somebody, this process included, holds the lock at
// path. It does not wait, creates nothing, and does not look like an owner to
// others. A file that does not exist is not held.
func Held(path string) (bool, error) {
	f, err := os.Open(path) //nolint:gosec // the caller's own lock
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at lock %s: %w", path, err)
	}
	defer func() { _ = f.Close() }() // only looked at
	switch err := lock(f, shared); {
	case err == nil:
		unlock(f)
		return false, nil
	case errors.Is(err, errWouldBlock):
		return true, nil
	default:
		return false, fmt.Errorf("look at lock %s: %w", path, err)
	}
}

// attempt takes the lock if it is free; otherwise the error is errWouldBlock.
func attempt(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the caller's own lock
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := lock(f, exclusive); err != nil {
		_ = f.Close() // already reporting the first error
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !current(f, path) {
		// Somebody removed the file between our opening and locking it: what
		// we hold has no name any more, so it keeps nobody out.
		unlock(f)
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, errWouldBlock)
	}
	return &File{file: f}, nil
}

// current reports whether f is what path names now.
func current(f *os.File, path string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(ours, named)
}

// Unlock releases the lock and leaves the file. A second Unlock returns an
// error.
func (l *File) Unlock() error {
	if l.file == nil {
		return errors.New("unlock: not locked")
	}
	f := l.file
	l.file = nil
	// Said explicitly: a child that is just being started has a copy of the
	// descriptor until it executes, and closing ours would not release it.
	unlock(f)
	return f.Close()
}
