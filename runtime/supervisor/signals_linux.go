package supervisor

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// stopUs stops our process and returns once it has been woken. The signal is
// the calling thread's own, which does not return before it has obeyed. One for
// the process goes to any of its threads; where that one gets no time the others
// go on, take the terminal again, and are stopped then.
func (p *Process) stopUs(<-chan os.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP) // ourselves
}
