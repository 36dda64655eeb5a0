//go:build linux || darwin

// Package guard is the small process between pillion and the app. It notices
// when pillion is gone, however that came, and then leaves nothing of the app
// behind; it passes on how the app ended; and it gives the user's terminal
// back in the state it was in.
//
// It is our own binary, executed again. It runs from this package's init, so
// that it never reaches main and costs little: the package imports only what is
// made of the standard library for that reason.
package guard

import (
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/internal/resident"
)

// Name is the guard's process name. It does not contain pillion's, so that
// `pkill -9 pillion` misses it.
const Name = "sidecar-guard"

// mark is the variable that makes a process of our binary the guard. The app
// does not get it.
const mark = "SIDECAR_GUARD"

// File descriptors the guard is started with. The two terminals are there only
// if the Order says so.
const (
	fdOrders   = 3 // a pipe that only pillion can write
	fdReports  = 4 // a pipe that only pillion reads
	fdStdin    = 5
	fdStdout   = 6
	fdStderr   = 7
	fdAppTTY   = 8
	fdTerminal = 9
)

// killBound is how long the guard waits, in all, for what will not die, such as
// a process of another user.
const killBound = 5 * time.Second

// init is the one this project allows: it makes the process a guard before
// anything else of ours has started.
func init() { //nolint:gochecknoinits // the guard must not cost what main costs
	if len(os.Args) != 1 || os.Args[0] != Name || os.Getenv(mark) == "" {
		return
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread() // the app dies with this thread
	syscall.Exit(run())
}

// run is the guard's life: start the app, pass on how it ends, and stay until
// pillion has closed its end, by itself or by dying.
func run() int {
	for fd := fdOrders; fd <= fdTerminal; fd++ {
		syscall.CloseOnExec(fd)
	}
	become(Name)
	outlive(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)

	order, err := readOrder(fdOrders)
	if err != nil {
		return 1 // pillion died before it had said anything
	}
	pid, errno := start(order)
	if errno != 0 {
		report(Report{Kind: Failed, Value: int(errno)})
		return 1
	}
	report(Report{Kind: Started, Value: pid})
	resident.Trim() // most of the program was never this process's
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		reap(pid)
		report(Report{Kind: Done})
	}()
	awaitEnd(fdOrders)
	// The terminal first: whatever pillion left raw is cooked within a
	// millisecond, however many processes there are to kill.
	if order.Saved != nil {
		restore(fdTerminal, order)
	}
	killAll(pid, gone)
	return 0
}

// outlive catches signals and forgets them. To ignore them would not do: the
// app would inherit that. What is ignored already, as under nohup, stays so.
func outlive(signals ...os.Signal) {
	forgotten := make(chan os.Signal, 1)
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(forgotten, s)
		}
	}
}

// start executes the app as the order says and closes what only the app needs.
func start(o Order) (pid int, errno syscall.Errno) {
	files := []uintptr{fdStdin, fdStdout, fdStderr}
	attr := &syscall.ProcAttr{Dir: o.Dir, Env: o.Env, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}}
	if o.TTY {
		// The guard leads the session: a leader's end hangs the terminal up,
		// and the app's first process may end before the rest of its tree.
		if errno := controlTerminal(fdAppTTY); errno != 0 {
			return 0, errno
		}
		attr.Sys.Foreground = true
		attr.Sys.Ctty = fdAppTTY
	}
	dieWithUs(attr.Sys)
	pid, err := syscall.ForkExec(o.Path, o.Args, attr) //nolint:gosec // the user's own command
	for fd := fdStdin; fd <= fdStderr; fd++ {
		_ = syscall.Close(fd) // the app's now
	}
	if o.TTY {
		_ = syscall.Close(fdAppTTY) // the app's now
	}
	if err != nil {
		if e, ok := err.(syscall.Errno); ok { //nolint:errorlint // ForkExec returns it bare
			return 0, e
		}
		return 0, syscall.EINVAL
	}
	return pid, 0
}

// reap waits for children until there are none, and reports the app's end.
func reap(app int) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return
		case pid == app:
			report(Report{Kind: Ended, Value: int(status)})
		}
	}
}

// awaitEnd returns when the pipe's only writer is gone.
func awaitEnd(fd int) {
	var b [1]byte
	for {
		n, err := syscall.Read(fd, b[:])
		if n == 0 && err == nil || err != nil && err != syscall.EINTR {
			return
		}
	}
}

// killAll kills the app's processes until none is left: killing one hands its
// children to the guard, which are then found in the next round. It gives up
// on what it cannot kill.
func killAll(app int, gone <-chan struct{}) {
	select {
	case <-gone:
		return
	default:
	}
	var waited time.Duration // of what was meant: where we get no time, neither do those we kill
	for wait := time.Millisecond; waited <= killBound; wait = min(2*wait, 50*time.Millisecond) {
		for _, pid := range family(app) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone already, or not ours to kill
		}
		select {
		case <-gone:
			return
		case <-time.After(wait):
			waited += wait
		}
	}
}

// restore gives the user's terminal back, if it is still as pillion had set
// it. A shell that was faster has set it for itself.
func restore(fd uintptr, o Order) {
	now, err := GetTermios(fd)
	if err != nil || o.Raw == nil {
		return
	}
	if now.Lflag == o.Raw.Lflag && now.Iflag == o.Raw.Iflag {
		_ = SetTermios(fd, o.Saved) // the terminal may be gone
	}
}
