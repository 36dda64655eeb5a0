package supervisor

import (
	"os"
	"syscall"
	"time"
)

// wakePatience is how long after being woken we wait to be told of it.
const wakePatience = 200 * time.Millisecond

// stopUs stops our process and returns once it has been woken. The signals of
// our job come from c.
func (p *Process) stopUs(c <-chan os.Signal) {
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // ourselves
	p.awaitWake(c)
}

// awaitWake returns when we have been stopped and woken.
func (p *Process) awaitWake(c <-chan os.Signal) {
	limit := time.After(wakePatience)
	for {
		select {
		case s := <-c:
			if s == syscall.SIGCONT {
				return
			}
		case <-limit:
			return
		case <-p.ending:
			return
		}
	}
}
