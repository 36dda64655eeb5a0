//go:build linux || darwin

package supervisor

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopPatience is how long programs that tidy up before they are suspended
// have for it.
const stopPatience = 50 * time.Millisecond

// watchSignals handles the signals of a job at a terminal: its size, being
// suspended, being woken. A broken pipe is caught so that it is an error of
// the write instead of our end. It closes ready once signals are caught.
func (p *Process) watchSignals(ready chan<- struct{}) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGPIPE)
	if p.spec.Job && !signal.Ignored(syscall.SIGTSTP) {
		signal.Notify(c, syscall.SIGTSTP)
	}
	defer signal.Stop(c)
	close(ready)
	var key <-chan struct{}
	if p.pl.keys != nil {
		key = p.pl.keys.suspended
	}
	for {
		select {
		case <-p.ending:
			return
		case <-key:
			p.suspend(c, true)
		case s := <-c:
			switch s {
			case syscall.SIGTSTP:
				p.suspend(c, false) // whoever sent it has told the others
			case syscall.SIGWINCH, syscall.SIGCONT:
				p.resume()
			}
		}
	}
}

// suspend stops the app, gives the terminal back, and stops us, until we are
// woken. With the key it stops our whole job, as the terminal would have done.
func (p *Process) suspend(c chan os.Signal, key bool) {
	p.pauseTree()
	if p.pl.keys != nil {
		p.pl.keys.pause()
	}
	signal.Reset(syscall.SIGTSTP) // it would come back to us
	if key {
		_ = syscall.Kill(0, syscall.SIGTSTP) // ourselves at least
	}
	// Go does not give a signal its default meaning back, so it is one that
	// cannot be caught; and nothing may stop us where nobody wakes us.
	if hasShell() {
		p.stopUs(c)
	}
	signal.Notify(c, syscall.SIGTSTP)
	p.signalTree(syscall.SIGCONT)
	p.resume()
}

// hasShell reports whether our job belongs to somebody in our session who
// handles it: the first ancestor outside of our process group. The system asks
// the same before a terminal's signal stops a job.
func hasShell() bool {
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	const depth = 64
	pid := os.Getppid()
	for range depth {
		if sid, err := unix.Getsid(pid); err != nil || sid != session {
			return false
		}
		if group, err := unix.Getpgid(pid); err != nil || group != unix.Getpgrp() {
			return err == nil
		}
		pid = parentOf(pid)
	}
	return false
}

// pauseTree stops the app's processes: first those in front of its terminal,
// as its own key would, so that they may tidy up the screen.
func (p *Process) pauseTree() {
	if p.pl.term != nil {
		if group, err := p.pl.term.foreground(); err == nil && group > 1 {
			_ = syscall.Kill(-group, syscall.SIGTSTP) // gone already
			select {
			case <-time.After(stopPatience):
			case <-p.ending:
			}
		}
	}
	p.signalTree(syscall.SIGSTOP)
}

// resume takes the terminal as it is now.
func (p *Process) resume() {
	if p.pl.keys != nil {
		p.pl.keys.resume()
	}
	if p.pl.term != nil {
		p.pl.term.resize()
	}
}

// signalTree sends signals to every process of the app's tree, once each, also
// to those that are started while it does.
func (p *Process) signalTree(signals ...syscall.Signal) {
	const rounds = 4
	told := map[int]bool{}
	for range rounds {
		fresh := false
		for _, proc := range p.tree() {
			if told[proc.PID] {
				continue
			}
			told[proc.PID], fresh = true, true
			for _, s := range signals {
				_ = syscall.Kill(proc.PID, s) // gone already, or not ours to tell
			}
		}
		if !fresh {
			return
		}
	}
}
