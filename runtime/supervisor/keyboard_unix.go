//go:build linux || darwin

package supervisor

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pillion-dev/pillion/runtime/supervisor/guard"
)

// lookAgain is how often a job in the background looks whether it is in front
// again: no signal says so to one that was not stopped.
const lookAgain = 250 * time.Millisecond

// A keyboard reads our terminal while we are in its foreground, and gives the
// terminal back as it was on every way out.
type keyboard struct {
	tty *os.File // not ours to close
	// saved is how the terminal was, raw how it is while its keys are read
	// one by one. Raw is nil if it stays as it is.
	saved, raw *syscall.Termios
	// A byte in wake ends a wait for a key.
	waking, wake *os.File
	suspended    chan struct{}

	mu     sync.Mutex // guards what follows
	isRaw  bool       // it is to be given back
	shared bool       // somebody else may have had it since
	lines  bool       // as last given to output
	paused bool
	closed bool
}

func newKeyboard(tty *os.File, keys bool) (*keyboard, error) {
	saved, err := guard.GetTermios(tty.Fd())
	if err != nil {
		return nil, err
	}
	if !inForeground(tty.Fd()) {
		cook(saved)
	}
	k := &keyboard{tty: tty, saved: saved, lines: true, suspended: make(chan struct{}, 1)}
	if keys {
		k.raw = rawOf(saved)
	}
	k.waking, k.wake, err = os.Pipe()
	return k, err
}

// read gives what is typed to f until stop is called, the terminal ends, or f
// fails. It reads only in the foreground: in the background the system would
// stop us for it.
func (k *keyboard) read(f func([]byte) error) {
	b := make([]byte, 4096)
	for {
		front, ended := k.take()
		switch {
		case ended:
			return
		case !front:
			k.await(false)
			continue
		case !k.await(true):
			continue
		}
		if front, ended = k.take(); ended || !front {
			continue
		}
		n, err := k.tty.Read(b)
		if n > 0 {
			if f(b[:n]) != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// await waits until there is something to read, or without typed for a while,
// or for wake. It reports whether there is something to read.
func (k *keyboard) await(typed bool) bool {
	fd := -1
	wait := lookAgain
	if typed {
		fd = int(k.tty.Fd())
		wait = -1
	}
	readable, woken := awaitReadable(fd, int(k.waking.Fd()), wait)
	if woken {
		var b [16]byte
		_, _ = k.waking.Read(b[:]) // only to empty it
		return false
	}
	return readable
}

// take makes the terminal ours if we are in its foreground and nobody has told
// us to leave it alone.
func (k *keyboard) take() (front, ended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.paused {
		return false, k.closed
	}
	if !inForeground(k.tty.Fd()) {
		return false, false
	}
	if k.raw != nil && (!k.isRaw || k.shared) {
		k.isRaw, k.shared = true, false
		k.set()
	}
	return true, false
}

// set makes the terminal raw. The lock is held.
func (k *keyboard) set() {
	now := *k.raw
	if !k.lines {
		now.Oflag &^= syscall.OPOST
	}
	_ = guard.SetTermios(k.tty.Fd(), &now) // hung up: reading it says so
}

// output says whether our terminal is to end lines itself.
func (k *keyboard) output(lines bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lines == lines {
		return
	}
	k.lines = lines
	if k.isRaw && !k.shared {
		k.set()
	}
}

// pause gives the terminal back until resume.
func (k *keyboard) pause() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.paused = true
	k.restore()
}

// resume takes the terminal again once we are in its foreground. Whoever had
// it meanwhile may have changed it.
func (k *keyboard) resume() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.paused, k.shared = false, true
	k.wakeUp()
}

// stop gives the terminal back and ends read.
func (k *keyboard) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.restore()
	k.wakeUp()
}

// restore gives the terminal back. The lock is held.
func (k *keyboard) restore() {
	if k.isRaw && inForeground(k.tty.Fd()) {
		_ = guard.SetTermios(k.tty.Fd(), k.saved) // hung up
	}
	k.isRaw = false
}

func (k *keyboard) wakeUp() { _, _ = k.wake.Write([]byte{0}) } // closed already: nobody waits

// suspend asks for everything to be suspended.
func (k *keyboard) suspend() {
	select {
	case k.suspended <- struct{}{}:
	default: // asked already
	}
}

// close is called after read has returned.
func (k *keyboard) close() {
	_ = k.waking.Close() // only read
	_ = k.wake.Close()   // nothing is held in it
}

// inForeground reports whether our process group has the terminal. One that
// does not control us has no jobs.
func inForeground(fd uintptr) bool {
	group, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// rawOf is t with every key passed on as it is typed. Output stays as it is.
func rawOf(t *syscall.Termios) *syscall.Termios {
	raw := *t
	raw.Iflag &^= syscall.IGNBRK | syscall.BRKINT | syscall.PARMRK | syscall.ISTRIP |
		syscall.INLCR | syscall.IGNCR | syscall.ICRNL | syscall.IXON | syscall.IXOFF
	raw.Lflag &^= syscall.ECHO | syscall.ECHONL | syscall.ICANON | syscall.ISIG | syscall.IEXTEN
	raw.Cc[syscall.VMIN], raw.Cc[syscall.VTIME] = 1, 0
	return &raw
}

// cook makes of the settings in which a shell edits its line those it gives
// to a job.
func cook(t *syscall.Termios) {
	t.Iflag |= syscall.ICRNL | syscall.IXON
	t.Iflag &^= syscall.INLCR | syscall.IGNCR
	t.Oflag |= newlines
	t.Lflag |= syscall.ECHO | syscall.ECHOE | syscall.ECHOK | syscall.ECHOCTL | syscall.ICANON | syscall.ISIG | syscall.IEXTEN
	t.Cc[syscall.VMIN], t.Cc[syscall.VTIME] = 1, 0
}
