// Package lifecycle runs the long-lived parts of a program together: who
// starts them waits for them.
package lifecycle

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Task is one long-lived part.
type Task struct {
	// Name is the part's name as a list read aloud has it, such as "http api".
	Name string
	// Run works until it is done or ctx ends and returns only when everything
	// it started has ended.
	Run func(ctx context.Context) error
}

// Run runs every task until one returns, cancels the others with that task's
// error as the cause, and returns it, with the task's name in front, once all
// have returned. The cause is context.Canceled if the first to return had
// nothing to complain about. Run of no tasks returns nil at once.
func Run(ctx context.Context, tasks ...Task) error {
	return RunWithin(ctx, 0, tasks...)
}

// RunWithin is Run, but that it waits for the others no longer than limit once
// the first has returned; 0 is no limit. For those that have not returned then it
// returns a *LateError, and they go on: the process had better end.
func RunWithin(ctx context.Context, limit time.Duration, tasks ...Task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type end struct {
		name string
		err  error
	}
	ended := make(chan end, len(tasks))
	left := make(map[string]int, len(tasks))
	for _, t := range tasks {
		left[t.Name]++
		go func() { ended <- end{t.Name, named(t.Name, t.Run(ctx))} }()
	}
	var first error
	var late <-chan time.Time
	for i := range tasks {
		select {
		case e := <-ended:
			if left[e.name]--; left[e.name] == 0 {
				delete(left, e.name)
			}
			if i > 0 {
				continue
			}
			first = e.err
			cancel(first)
			if limit > 0 {
				timer := time.NewTimer(limit)
				defer timer.Stop()
				late = timer.C
			}
		case <-late:
			return &LateError{Tasks: slices.Sorted(maps.Keys(left)), After: limit, Err: first}
		}
	}
	return first
}

// A LateError names the tasks that had not returned.
type LateError struct {
	Tasks []string
	After time.Duration
	// Err is that of the first task that returned; it may be nil.
	Err error
}

func (e *LateError) Error() string {
	return fmt.Sprintf("not ended %v after the end: %s", e.After, strings.Join(e.Tasks, ", "))
}

func (e *LateError) Unwrap() error { return e.Err }

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
