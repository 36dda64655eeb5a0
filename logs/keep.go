package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pillion-dev/pillion/internal/atomicfile"
)

// keep moves lines from the queue to the disk until the run is closed.
func (r *Run) keep(ctx context.Context) {
	defer close(r.kept)
	for !r.wait() {
		r.flush(ctx)
	}
	r.mu.Lock()
	r.closed = true
	for _, w := range r.outputs {
		if w != nil {
			w.flush(r.now(), true)
		}
	}
	r.mu.Unlock()
	r.retry = time.Time{}
	for r.flush(ctx) {
	}
	r.finish()
}

// wait returns when there may be something to do, and whether the run closes.
func (r *Run) wait() bool {
	var timer <-chan time.Time
	if due := r.due(); !due.IsZero() {
		t := time.NewTimer(due.Sub(r.now()))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-r.closing:
		return true
	case <-timer:
	case <-r.wake:
	}
	return false
}

// due is when the next half line is due, or the next attempt at a disk that
// refused the last one; zero if nothing is.
func (r *Run) due() time.Time {
	due := r.retry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.outputs {
		if w == nil || len(w.part) == 0 {
			continue
		}
		if at := w.since.Add(partialWait); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

// flush writes what is queued. It reports whether more has come meanwhile.
func (r *Run) flush(ctx context.Context) bool {
	now := r.now()
	r.mu.Lock()
	for _, w := range r.outputs {
		if w != nil && len(w.part) > 0 && now.Sub(w.since) >= partialWait {
			w.flush(now, false)
		}
	}
	waiting := !r.retry.IsZero() && now.Before(r.retry)
	if len(r.batch) == 0 && !waiting {
		r.batch = r.queue.take()
	}
	r.mu.Unlock()
	if waiting || len(r.batch) == 0 {
		return false
	}
	err := r.stay(ctx, now)
	if err == nil {
		var n int
		n, err = r.disk.write(r.batch)
		r.batch = r.batch[n:]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue.written(len(r.batch))
	if err != nil {
		r.refused(err, now)
		return false
	}
	if r.queue.total > 0 {
		r.note(fmt.Sprintf("the disk could not keep up with the log of %s", r.info.App))
	}
	r.queue.sayGap(appendStamp(nil, now))
	r.retry, r.queue.reason = time.Time{}, ""
	return len(r.queue.buf) > 0
}

// refused remembers that the disk did not take something. r.mu is held.
func (r *Run) refused(err error, now time.Time) {
	r.retry = now.Add(retryWait)
	r.queue.reason = plainCause(err)
	r.note(fmt.Sprintf("the log of %s is not kept: %s (%s)", r.info.App, r.queue.reason, r.info.dir))
}

// note remembers the first problem. r.mu is held.
func (r *Run) note(problem string) {
	if r.problem == "" {
		r.problem = problem
		close(r.failed)
	}
}

// plainCause is what the system said, without our path and call around it.
func plainCause(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}

// stay looks once a second whether the run's folder is still there. If
// somebody removed it, the run goes on in a new one.
func (r *Run) stay(ctx context.Context, now time.Time) error {
	if now.Sub(r.checked) < retryWait && now.After(r.checked) {
		return nil
	}
	r.checked = now
	_, err := os.Stat(filepath.Join(r.disk.dir, runFile))
	if !errors.Is(err, fs.ErrNotExist) && !r.disk.gone() {
		return nil
	}
	r.mu.Lock()
	number := r.info.Run
	r.mu.Unlock()
	old := r.lock
	if err := r.settle(ctx, number); err != nil {
		r.checked = time.Time{} // look again at the next attempt
		return err
	}
	_ = old.Unlock() // its file has no name any more
	r.mu.Lock()
	r.note(fmt.Sprintf("the log of %s was removed while it ran; what follows is kept in %s", r.info.App, r.info.dir))
	r.mu.Unlock()
	gap := appendRecord(nil, appendStamp(nil, now), byte(Gap), []byte("the log before this was removed while the app ran"))
	_, err = r.disk.write(gap)
	return err
}

// finish counts what the disk did not take and writes down how the run ended.
func (r *Run) finish() {
	r.disk.close()
	r.mu.Lock()
	for _, b := range [][]byte{r.batch, r.queue.take()} {
		for row := range bytes.Lines(b) {
			r.queue.drop(row[letterAt], len(row)-headSize-1)
		}
	}
	if r.info.End.IsZero() {
		r.info.End = r.now().UTC()
	}
	r.info.LostLines = r.queue.total
	data, err := json.Marshal(r.info)
	path := filepath.Join(r.info.dir, runFile)
	r.mu.Unlock()
	if err == nil {
		err = atomicfile.Write(path, data, 0o600)
	}
	if err != nil {
		r.mu.Lock()
		r.note(fmt.Sprintf("the end of %s's log is not kept: %s", r.info.App, plainCause(err)))
		r.mu.Unlock()
	}
	_ = r.lock.Unlock() // the process lets go of it anyway
}
