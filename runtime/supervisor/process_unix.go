//go:build linux || darwin

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/runtime/supervisor/guard"
)

// ErrGuardLost says that somebody killed the guard. The app was ended with it.
var ErrGuardLost = errors.New("the guard of the app was killed, and the app with it")

const (
	// defaultLeftoverGrace is what Spec.LeftoverGrace says.
	defaultLeftoverGrace = 2 * time.Second
	// leftoverLook is how long the guard has for saying that nobody is left
	// after the app's first process, before we look for ourselves.
	leftoverLook = 30 * time.Millisecond
	// killBound is how long Kill waits, in all, for what will not die.
	killBound = 3 * time.Second
	// guardBound is how long the guard may take to say that nobody is left.
	guardBound = 300 * time.Millisecond
	// hurryBound is how long output that nobody takes is waited for after
	// Kill.
	hurryBound = time.Second
)

// A Process is a running app: its first process and whatever that started.
type Process struct {
	spec     Spec
	pl       *plumbing
	guard    *os.Process
	guardPID int
	orders   *os.File // closed: the guard ends, and the app with it
	reports  *os.File
	pid      int

	ended   chan struct{} // the app's first process is gone
	empty   chan struct{} // no process is left
	hurry   chan struct{} // Kill was called
	ending  chan struct{} // the signal loop is to end
	done    chan struct{} // everything is over
	signals chan struct{} // the signal loop has ended
	reading chan struct{} // the guard's reports have ended
	input   chan struct{} // the input has ended
	killers sync.WaitGroup

	mu         sync.Mutex // guards what follows
	exit       Exit
	hasExit    bool
	err        error
	terminated bool
	hurried    bool
	gaveUp     bool // on the guard, with nobody left
}

// PID is the process id of the app's first process.
func (p *Process) PID() int { return p.pid }

// GuardPID is the process id of the guard; its memory is part of ours.
func (p *Process) GuardPID() int { return p.guardPID }

// Ended is closed when the app's first process has ended; Done follows when
// its last one has.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Done is closed when no process is left, all output has been passed on, and
// the terminal is as it was.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for Done and says how the app ended. The error is ErrGuardLost,
// or names what could not be killed.
func (p *Process) Wait() (Exit, error) {
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, p.err
}

// Exit says how the app's first process ended, and whether it has.
func (p *Process) Exit() (Exit, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, p.hasExit
}

// Terminate asks the app's whole tree to end, once. It does not wait.
func (p *Process) Terminate() error {
	p.mu.Lock()
	p.terminated = true
	p.mu.Unlock()
	p.signalTree(syscall.SIGTERM, syscall.SIGCONT)
	return nil
}

// Kill kills the app's whole tree and returns once nothing is left of it; Exit
// has those that had to be killed. Output that nobody takes is not waited for
// any more. The error names what could not be killed, such as processes of
// another user; they are then left to themselves, and Done follows.
func (p *Process) Kill() error {
	p.mu.Lock()
	if !p.hurried {
		p.hurried = true
		close(p.hurry)
	}
	p.mu.Unlock()
	return p.kill()
}

func (p *Process) kill() error {
	killed := map[int]Proc{}
	defer func() { p.remember(killed) }()
	give := time.Now().Add(killBound) // for those who are not ours to kill
	var waited time.Duration          // of what was meant: where we get no time, neither do those we kill
	var silent time.Time              // since when the guard has nobody left and does not say so
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		left := p.tree()
		refused := strike(left, killed)
		select {
		case <-p.empty:
			return nil
		case <-time.After(wait):
			waited += wait
		}
		switch now := time.Now(); {
		case len(left) > 0 && (waited > killBound || refused == len(left) && now.After(give)):
			return p.abandon(left)
		case len(left) > 0:
			silent = time.Time{}
		case silent.IsZero():
			silent = now
		case now.Sub(silent) > guardBound:
			p.giveUp() // it was stopped, or has no time on a busy machine; p.empty follows
		}
	}
}

// strike kills processes, notes those it has killed, and returns how many are
// not ours to kill.
func strike(all []Proc, killed map[int]Proc) (refused int) {
	for _, proc := range all {
		switch err := syscall.Kill(proc.PID, syscall.SIGKILL); {
		case err == nil:
			killed[proc.PID] = proc
		case errors.Is(err, syscall.EPERM):
			refused++
		}
	}
	return refused
}

// abandon gives up on processes that cannot be killed.
func (p *Process) abandon(left []Proc) error {
	err := fmt.Errorf("cannot kill %s", join(left))
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	_ = p.guard.Kill() // it would only try the same
	return err
}

// giveUp ends a guard that has nobody left and does not say so.
func (p *Process) giveUp() {
	p.mu.Lock()
	p.gaveUp = true
	p.mu.Unlock()
	_ = p.guard.Kill() // it may have ended just now
}

// remember keeps those killed for Exit.
func (p *Process) remember(killed map[int]Proc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proc := range p.exit.Killed {
		killed[proc.PID] = proc
	}
	p.exit.Killed = sorted(killed)
}

// begin starts what runs as long as the app does.
func (p *Process) begin() {
	if p.pl.keys != nil {
		p.pl.keys.take() // before anything is shown: our terminal must not end an app's lines a second time
	}
	for _, s := range p.pl.streams {
		go s.copy()
	}
	p.input = make(chan struct{})
	if p.pl.input == nil {
		close(p.input)
	} else {
		go func() { defer close(p.input); p.pl.input() }()
	}
	p.signals = make(chan struct{})
	watching := make(chan struct{})
	go func() { defer close(p.signals); p.watchSignals(watching) }()
	<-watching
	if p.pl.term != nil {
		p.pl.term.resize() // the window may have changed before its signal was caught
	}
	reports := make(chan guard.Report)
	p.reading = make(chan struct{})
	go func() { defer close(p.reading); p.readReports(reports) }()
	go p.run(reports)
}

// readReports passes on what the guard says, and closes the channel when the
// guard is gone.
func (p *Process) readReports(reports chan<- guard.Report) {
	defer close(reports)
	for {
		r, err := guard.ReadReport(p.reports)
		if err != nil {
			return
		}
		reports <- r
	}
}

// run sees the app through to its end.
func (p *Process) run(reports <-chan guard.Report) {
	defer close(p.done)
	lost := !p.follow(reports)
	if lost {
		_, _ = p.guard.Wait() // orphans are ours from here on
		p.lose()
	}
	close(p.empty)
	p.killers.Wait()
	p.finish()
	_ = p.orders.Close() // the guard's sign to end
	if !lost {
		_, _ = p.guard.Wait() // it has nothing more to say
	}
	<-p.reading
	_ = p.reports.Close() // only read
}

// follow takes the guard's reports until it says that nothing is left; it
// returns false if the guard went without a word.
func (p *Process) follow(reports <-chan guard.Report) bool {
	var look <-chan time.Time
	asked := false
	for {
		select {
		case r, ok := <-reports:
			switch {
			case !ok:
				return false
			case r.Kind == guard.Done:
				return true
			case r.Kind == guard.Ended:
				p.setExit(exitOf(syscall.WaitStatus(r.Value))) //nolint:gosec // a wait status is small
				look = time.After(leftoverLook)
			}
		case <-look:
			switch {
			case !asked:
				asked, look = p.askLeftovers()
			case !p.stopping():
				look = nil
				p.killers.Go(func() { _ = p.kill() }) // Wait has its error
			}
		}
	}
}

// askLeftovers asks what outlived the app's first process to end. It returns
// true once it has, and when to look again.
func (p *Process) askLeftovers() (asked bool, again <-chan time.Time) {
	if p.stopping() {
		return true, nil // they have been asked
	}
	left := p.tree()
	if len(left) == 0 {
		return false, time.After(leftoverLook) // ended, but not reaped yet
	}
	p.mu.Lock()
	p.exit.Leftovers = left
	p.mu.Unlock()
	p.signalTree(syscall.SIGTERM, syscall.SIGCONT)
	grace := p.spec.LeftoverGrace
	if grace == 0 {
		grace = defaultLeftoverGrace
	}
	return true, time.After(grace)
}

func (p *Process) stopping() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.terminated
}

// setExit records how the app's first process ended.
func (p *Process) setExit(code int, signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hasExit {
		return
	}
	p.hasExit = true
	p.exit.Code, p.exit.Signal = code, signal
	close(p.ended)
}

// lose ends what the guard has left to us, and records how the app ended if
// that can be known.
func (p *Process) lose() {
	p.mu.Lock()
	abandoned := p.err != nil
	if !abandoned && !p.gaveUp {
		p.err = ErrGuardLost
	}
	p.mu.Unlock()
	if !abandoned {
		if status, known := endOrphans(p.pid); known {
			p.setExit(exitOf(status))
		}
	}
	p.setExit(128+int(syscall.SIGKILL), syscall.SIGKILL) // if nothing better is known
}

// exitOf is the status a shell would show, and the signal behind it.
func exitOf(status syscall.WaitStatus) (int, syscall.Signal) {
	if status.Signaled() {
		return 128 + int(status.Signal()), status.Signal()
	}
	return status.ExitStatus(), 0
}

// finish passes on what is still on its way and gives the terminal back. No
// process of the app is left.
func (p *Process) finish() {
	pl := p.pl
	if pl.term != nil {
		_ = pl.term.slave.Close() // the last: the stream ends behind what is in it
	}
	for _, s := range pl.streams {
		s.drain()
	}
	p.awaitOutput()
	if pl.keys != nil {
		pl.keys.stop()
	}
	if pl.stdin != nil {
		_ = pl.stdin.Close() // nobody reads it any more
	}
	if pl.waits || pl.input == nil {
		<-p.input
	}
	close(p.ending)
	<-p.signals
	if pl.keys != nil {
		pl.keys.close()
	}
}

// awaitOutput waits for the streams to end. Once Kill was called it does so
// for a second only: what nobody takes is lost then, and the write that hangs
// with it is left behind.
func (p *Process) awaitOutput() {
	hurry, bound := p.hurry, (<-chan time.Time)(nil)
	for _, s := range p.pl.streams {
		for open := true; open; {
			select {
			case <-s.done:
				open = false
			case <-hurry:
				hurry, bound = nil, time.After(hurryBound)
			case <-bound:
				return
			}
		}
	}
}
