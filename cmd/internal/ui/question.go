package ui

import (
	"bufio"
	"context"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// Confirm asks question on Err and reports whether the answer was yes. Where
// nobody can answer it returns an error whose hint is flag. A Ctrl-C, seen as
// the end of ctx, is no.
func (c *Console) Confirm(ctx context.Context, question, flag string) (bool, error) {
	if !c.Interactive() {
		return false, &apperr.Error{
			Reason: apperr.Usage,
			What:   "this asks first, and there is no terminal to ask on",
			Hint:   "add " + flag,
		}
	}
	room := max(1, c.Err.Prose()-len(" yes")) // the answer stands behind it
	c.Err.Print(strings.Join(fold(strings.Fields(c.Err.Text(question)+" [y/N]"), room, room), "\n") + " ")
	answer := make(chan string, 1)
	// The reader outlives a Ctrl-C: a read from a terminal cannot be taken
	// back. The process ends right after, and the reader with it.
	go func() {
		line, _ := bufio.NewReader(c.In).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done():
		c.Err.Print("\n")
		return false, context.Cause(ctx)
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return true, nil
		}
		return false, nil
	}
}
