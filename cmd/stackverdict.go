package cmd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/stack"
)

// verdict is how a stack ended: what is to be said last, and the exit status.
// With a command that is the command's; without one 0 or 1, as dapr's.
func (s *stackStage) verdict(r stack.Result) error {
	switch {
	case r.Commanded && r.Err != nil:
		return r.Err // 125, 126 or 127, as of any run
	case r.Commanded:
		s.warnOfLost(r)
		return &ui.Exit{Status: r.Exit}
	case s.plan.command == nil:
		if err := s.failures(r); err != nil {
			return &ui.Exit{Status: exitFailed, Err: err}
		}
		return nil
	case r.Interrupted:
		return &ui.Exit{Status: ui.Interrupted}
	}
	errs := make([]error, 0, len(r.Late))
	for _, i := range r.Late {
		errs = append(errs, s.late(i, r.Apps[i]))
	}
	return &ui.Exit{Status: runFailed, Err: errors.Join(errs...)}
}

// warnOfLost says which apps ended badly while the command ran: its status is
// the answer, but may be owed to that.
func (s *stackStage) warnOfLost(r stack.Result) {
	for i, st := range r.Apps {
		if !st.Failed() {
			continue
		}
		name := s.members[i].cfg.AppID
		s.c.Err.Warn(&apperr.Error{
			What: name + " ended while the command ran", Cause: how(st),
			Hint: "pillion logs " + name, Run: []string{"pillion", "logs", name},
		})
	}
}

// failures are the apps that could not be run or ended badly by themselves.
func (s *stackStage) failures(r stack.Result) error {
	var errs []error
	for i, st := range r.Apps {
		if !st.Failed() {
			continue
		}
		name := s.members[i].cfg.AppID
		if st.Err != nil {
			errs = append(errs, s.cannotRun(name, st.Err))
			continue
		}
		errs = append(errs, &apperr.Error{
			What: name + " ended by itself", Cause: how(st),
			Hint: "pillion logs " + name, Run: []string{"pillion", "logs", name},
		})
	}
	return errors.Join(errs...)
}

// cannotRun says why an app was not run, in the words of the file.
func (s *stackStage) cannotRun(name string, err error) error {
	told := *apperr.From(err)
	told.What = name + ": " + strings.TrimPrefix(inFile(told.What), name+": ")
	told.Hint = inFile(told.Hint)
	return &told
}

// how says how an app ended: exit 1, ran 4.2s.
func how(st stack.Status) string {
	switch {
	case st.Err != nil:
		return apperr.From(st.Err).What
	case st.End != nil:
		return fmt.Sprintf("%s, ran %s", st.End.Status, human.Took(st.End.Ran))
	}
	return ""
}

// late says why the command was not run: an app that is not ready.
func (s *stackStage) late(i int, st stack.Status) error {
	m := s.members[i]
	name := m.cfg.AppID
	if st.Err != nil {
		return s.cannotRun(name, st.Err)
	}
	e := &apperr.Error{
		What: name + " was not ready, so the command was not run",
		Hint: "pillion logs " + name, Run: []string{"pillion", "logs", name},
	}
	waited := human.Took(time.Since(s.began).Round(time.Second))
	s.mu.Lock()
	warning := s.warned[i]
	s.mu.Unlock()
	switch {
	case st.End != nil && st.End.Itself:
		e.Cause = how(st)
	case warning != "":
		e.Cause = warning
	case m.cfg.AppPort != 0:
		e.Cause = fmt.Sprintf("nothing of it has opened port %d within %s", m.cfg.AppPort, waited)
	default:
		e.Cause = "it was still starting after " + waited
	}
	return e
}
