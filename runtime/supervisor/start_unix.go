//go:build linux || darwin

package supervisor

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/supervisor/guard"
)

// Start runs an app behind a guard of its own. It returns once the app's
// program has been executed, some milliseconds later, or could not be: then
// with an *apperr.Error of reason CommandNotFound or NotExecutable. If ctx ends
// before that, nothing is left and the error is ctx's cause; afterwards ctx has
// no say. The caller must wait for Done and, to end the app, call Terminate
// and Kill.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	order, err := orderFor(spec)
	if err != nil {
		return nil, err
	}
	adoptOrphans()
	pl, err := newPlumbing(spec)
	if err != nil {
		return nil, err
	}
	if pl.term != nil {
		order.TTY = true
	}
	if pl.keys != nil {
		order.Saved, order.Raw = pl.keys.saved, pl.keys.raw
	}
	p := &Process{
		spec:   spec,
		pl:     pl,
		ended:  make(chan struct{}),
		empty:  make(chan struct{}),
		hurry:  make(chan struct{}),
		done:   make(chan struct{}),
		ending: make(chan struct{}),
	}
	if err := p.startGuard(); err != nil {
		pl.close()
		return nil, err
	}
	if err := p.startApp(ctx, order); err != nil {
		_ = p.orders.Close() // the guard's sign to end
		_, _ = p.guard.Wait()
		_ = p.reports.Close() // only read
		pl.close()
		return nil, err
	}
	p.begin()
	return p, nil
}

// orderFor checks what can be checked before anything is started.
func orderFor(spec Spec) (guard.Order, error) {
	if len(spec.Command) == 0 {
		_, err := Lookup("", "", nil)
		return guard.Order{}, err
	}
	if spec.Dir != "" {
		if info, err := os.Stat(spec.Dir); err != nil || !info.IsDir() {
			return guard.Order{}, &apperr.Error{
				Reason: apperr.NotExecutable, Err: err,
				What: "cannot run in " + spec.Dir, Cause: "there is no such folder",
			}
		}
	}
	path, err := Lookup(spec.Command[0], spec.Dir, spec.Env)
	if err != nil {
		return guard.Order{}, err
	}
	env := spec.Env
	if env == nil {
		env = []string{} // nil would mean the guard's own
	}
	return guard.Order{Path: path, Args: spec.Command, Env: env, Dir: spec.Dir}, nil
}

// startGuard executes our binary as the guard. The app's ends of its streams
// are the guard's afterwards.
func (p *Process) startGuard() error {
	ordersIn, orders, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe to the guard: %w", err)
	}
	defer func() { _ = ordersIn.Close() }() // the guard's now
	reports, reportsOut, err := os.Pipe()
	if err != nil {
		_ = orders.Close() // nobody reads it
		return fmt.Errorf("pipe from the guard: %w", err)
	}
	defer func() { _ = reportsOut.Close() }() // the guard's now

	files := p.pl.child
	files.Orders, files.Reports = ordersIn, reportsOut
	self, err := ourBinary()
	if err == nil {
		p.guard, err = os.StartProcess(self, []string{guard.Name}, guard.Attr(files))
	}
	if err != nil {
		_ = orders.Close()  // nobody reads it
		_ = reports.Close() // nobody writes it
		return fmt.Errorf("start the guard: %w", err)
	}
	p.orders, p.reports = orders, reports
	p.guardPID = p.guard.Pid
	p.pl.started()
	return nil
}

// startApp sends the order and waits for the guard's word.
func (p *Process) startApp(ctx context.Context, order guard.Order) error {
	stop := context.AfterFunc(ctx, func() { _ = p.orders.Close() }) // the guard's sign to end
	defer stop()
	if err := order.Send(p.orders); err != nil && ctx.Err() == nil {
		if err == syscall.E2BIG { //nolint:errorlint // Send returns it bare
			return notStarted(order, syscall.E2BIG)
		}
		return fmt.Errorf("tell the guard what to start: %w", err)
	}
	first, err := guard.ReadReport(p.reports)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("the guard ended before it had started %s: %w", order.Path, err)
	case first.Kind == guard.Failed:
		return notStarted(order, syscall.Errno(first.Value))
	}
	p.pid = first.Value
	return nil
}

// notStarted says why the system refused a program that Lookup had found.
func notStarted(o guard.Order, errno syscall.Errno) error {
	e := &apperr.Error{
		Reason: apperr.NotExecutable, Err: errno,
		What:  "cannot execute " + o.Args[0],
		Cause: errno.Error(),
	}
	switch errno { //nolint:exhaustive // the rest says it in its own words
	case syscall.ENOEXEC:
		e.Cause = "it is neither a program of this system nor a script that begins with #!"
		e.Hint = "begin it with a line such as #!/bin/sh, or build it for this machine"
	case syscall.ENOENT:
		e.Cause = "the program that its first line names, or its loader, does not exist"
		if line := shebang(within(o.Dir, o.Path)); line != "" {
			e.Cause = fmt.Sprintf("its first line names %s, which does not exist", line)
			if strings.HasSuffix(line, "\r") {
				e.Cause = "its first line ends in a carriage return, as files from Windows do"
				e.Hint = "save it with line feeds only"
			}
		}
	case syscall.E2BIG:
		e.Cause = "its arguments and environment are too long for the system"
	}
	return e
}

// shebang is the interpreter a script's first line names.
func shebang(path string) string {
	f, err := os.Open(path) //nolint:gosec // the user's own command
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read
	b := make([]byte, 256)
	n, _ := f.Read(b) // nothing read is no shebang
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimLeft(rest, " \t"), " ")
	return name
}
