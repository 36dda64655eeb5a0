package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// Interrupted is the exit status after Ctrl-C.
const Interrupted = 130

// An Exit ends the command with a status of its own. Err, if not nil, is
// reported; a nil one ends it silently, for what had to be said was said.
type Exit struct {
	Status int
	Err    error
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return "exit"
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }

// Report tells the person what went wrong, one block a mistake, and returns
// the process's exit status.
func (c *Console) Report(err error) int {
	status := -1
	if exit, ok := errors.AsType[*Exit](err); ok {
		status, err = exit.Status, exit.Err
	}
	if err == nil {
		return max(0, status)
	}
	if errors.Is(err, context.Canceled) && !isMarked(err) {
		if status >= 0 {
			return status
		}
		return Interrupted
	}
	for _, one := range each(err) {
		e := apperr.From(one)
		own := e.Reason.ExitStatus()
		if status < 0 {
			status = own
		}
		if e.Reason == apperr.Cancelled {
			continue // the person knows: it was their Ctrl-C
		}
		if c.JSON {
			c.Err.failJSON(e, status)
			continue
		}
		c.Err.Fail(e)
	}
	return status
}

func isMarked(err error) bool {
	var e *apperr.Error
	return errors.As(err, &e)
}

// each takes joined errors apart.
func each(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, each(e)...)
	}
	return all
}

// failure is an error as one JSON object. Its keys stay; what is unknown is
// null.
type failure struct {
	Kind       apperr.Reason `json:"kind"`
	Message    string        `json:"message"`
	Hop        *string       `json:"hop"`
	Cause      *string       `json:"cause"`
	Hint       *string       `json:"hint"`
	Run        []string      `json:"run"`
	ExitStatus int           `json:"exitStatus"`
}

func (p *Printer) failJSON(e *apperr.Error, status int) {
	f := failure{
		Kind: e.Reason, Message: e.What, Cause: known(e.Cause), Hint: known(e.Hint),
		Run: e.Run, ExitStatus: status,
	}
	if isCall(e.Reason) {
		f.Hop = known(string(e.At()))
	}
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)                               // hints such as <command> are read by people, too
	if encoder.Encode(map[string]failure{"error": f}) != nil { // strings always marshal
		p.Fail(e)
		return
	}
	p.Line(strings.TrimSuffix(data.String(), "\n"))
}

func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
