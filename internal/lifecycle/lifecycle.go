// Package lifecycle runs the long-lived parts of a program together: who
// starts them waits for them.
package lifecycle

import (
	"context"
	"fmt"
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, len(tasks))
	for _, t := range tasks {
		go func() { ended <- named(t.Name, t.Run(ctx)) }()
	}
	var first error
	for i := range tasks {
		err := <-ended
		if i == 0 {
			first = err
			cancel(err)
		}
	}
	return first
}

func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
