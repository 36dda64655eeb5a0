package logs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/tls/identity"
)

const (
	// partialWait is how long the beginning of a line waits for its newline.
	partialWait = 100 * time.Millisecond
	// retryWait is the pause after the disk refused something.
	retryWait = time.Second
	// attempts bounds the search for a free number while others begin runs too.
	attempts = 1000
)

// A Run keeps what one execution of an app says. A nil Run takes everything
// and keeps nothing. Its methods are safe for concurrent use, and none but
// Close waits for the disk.
type Run struct {
	store *Store
	now   func() time.Time

	wake    chan struct{} // something is queued
	closing chan struct{}
	kept    chan struct{} // closed once the last line is written
	swept   chan struct{} // closed once old runs are dropped
	failed  chan struct{} // closed at the first problem
	once    sync.Once

	mu      sync.Mutex // guards what follows
	info    RunInfo
	queue   queue
	outputs [8]*splitter
	problem string
	closed  bool

	// Used by keep alone.
	disk    segments
	lock    *filelock.File
	batch   []byte // taken from the queue, not yet written
	retry   time.Time
	checked time.Time
}

// Begin begins a run: it gives it a number, makes its folder, and in the
// background drops what the limits no longer allow. Close ends it and must be
// called. On an error the Run is nil, which is a Run that keeps nothing: an
// app is not refused because its log cannot be kept.
func (s *Store) Begin(ctx context.Context, info Info) (*Run, error) {
	now := info.Now
	if now == nil {
		now = time.Now
	}
	namespace := cmp.Or(info.Namespace, identity.DefaultNamespace)
	if err := errors.Join(identity.CheckNamespace(namespace), identity.CheckAppID(info.App)); err != nil {
		return nil, fmt.Errorf("keep a log: %w", err)
	}
	r := &Run{
		store:   s,
		now:     now,
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		kept:    make(chan struct{}),
		swept:   make(chan struct{}),
		failed:  make(chan struct{}),
		info: RunInfo{
			App: info.App, Namespace: namespace, Instance: info.Instance,
			Command: info.Command, Folder: info.Folder, Start: now().UTC(),
		},
		queue: queue{limit: s.limits.Queue},
		disk:  segments{limit: s.limits.Segment, runLimit: s.limits.Run},
	}
	if err := r.settle(ctx, 1); err != nil {
		return nil, fmt.Errorf("keep a log in %s: %w", s.dir, err)
	}
	go r.keep(context.WithoutCancel(ctx))
	go func() {
		defer close(r.swept)
		s.sweep()
	}()
	return r, nil
}

// Number is the run's number among its app's; 0 for a nil Run. It changes only
// if somebody removes the folder of a live run and its number is taken since.
func (r *Run) Number() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.info.Run
}

// Writer returns where a stream's bytes go. Writing never fails and never
// waits for the disk. There is one Writer a stream.
func (r *Run) Writer(stream Stream) io.Writer {
	if r == nil || stream.number() < 0 {
		return io.Discard
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.outputs[stream.number()]
	if w == nil {
		w = &splitter{run: r, stream: stream}
		r.outputs[stream.number()] = w
	}
	return w
}

// Line keeps text as one line of stream, or as several if it has newlines.
func (r *Run) Line(stream Stream, text string) {
	_, _ = io.WriteString(r.Writer(stream), strings.TrimSuffix(text, "\n")+"\n") // never fails
}

// End says that the app has ended, and how, in words such as "exit 1". Lines
// may still follow; Close writes it down.
func (r *Run) End(exit string) {
	if r == nil {
		return
	}
	end := r.now().UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info.End, r.info.Exit = end, exit
}

// Failed is closed at the first problem, such as a full disk. A nil Run's is
// nil.
func (r *Run) Failed() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.failed
}

// Problem is the first problem in words, and what it has cost, or "".
func (r *Run) Problem() string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue.total == 0 {
		return r.problem
	}
	return fmt.Sprintf("%s; %s not kept", r.problem, human.Count(r.queue.total, "line"))
}

// Lost is how many lines could not be kept so far.
func (r *Run) Lost() int64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue.total
}

// Close writes what is left and ends the run. It waits at most until ctx ends;
// what the disk has not taken by then is lost. It returns an error if lines
// were lost. What is written after Close is dropped.
func (r *Run) Close(ctx context.Context) error {
	if r == nil {
		return nil
	}
	r.once.Do(func() { close(r.closing) })
	for _, done := range []chan struct{}{r.kept, r.swept} {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("the log of %s is not complete: %w", r.info.App, context.Cause(ctx))
		}
	}
	if lost := r.Lost(); lost > 0 {
		return fmt.Errorf("the log of %s is not complete: %s not kept", r.info.App, human.Count(lost, "line"))
	}
	return nil
}

func (r *Run) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// settle makes a folder for the run, with a number of its own not below from,
// and locks it. Making the folder is what takes the number.
func (r *Run) settle(ctx context.Context, from int) error {
	app := r.store.appDir(r.info.Namespace, r.info.App)
	if err := os.MkdirAll(app, 0o700); err != nil {
		return err
	}
	last, err := lastNumber(app)
	if err != nil {
		return err
	}
	number := max(from, last+1)
	dir := ""
	for range attempts {
		dir = filepath.Join(app, strconv.Itoa(number))
		if err = os.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrExist) {
			break
		}
		number++
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, retryWait)
	defer cancel()
	lock, err := filelock.Lock(ctx, filepath.Join(dir, lockFile))
	if err != nil {
		_ = os.RemoveAll(dir) // already reporting the first error
		return err
	}
	r.mu.Lock()
	r.info.Run, r.info.dir = number, dir
	data, err := json.Marshal(r.info)
	r.mu.Unlock()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, runFile), data, 0o600)
	}
	if err != nil {
		_ = lock.Unlock() // already reporting the first error
		_ = os.RemoveAll(dir)
		return err
	}
	r.lock = lock
	r.disk.moveTo(dir)
	return nil
}

// lastNumber is the highest number an app's run ever had. The folders are read
// first: a number is written down before its folder is dropped.
func lastNumber(app string) (int, error) {
	numbers, err := runNumbers(app)
	if err != nil {
		return 0, err
	}
	last := 0
	if len(numbers) > 0 {
		last = numbers[len(numbers)-1]
	}
	data, err := readSmall(filepath.Join(app, lastFile), maxLastFile)
	if err != nil {
		return last, nil //nolint:nilerr // it counts what was dropped: without it nothing was
	}
	dropped, _ := strconv.Atoi(strings.TrimSpace(string(data))) // 0 if it is damaged
	return max(last, dropped), nil
}
