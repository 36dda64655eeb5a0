//go:build linux || darwin

package supervisor

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/pillion-dev/pillion/runtime/supervisor/guard"
)

// A terminal is the app's pseudo-terminal in front of ours.
type terminal struct {
	ours *os.File // not ours to close
	out  *guarded // what the app prints goes there
	// margin is how many columns of ours are not the app's.
	margin int
	// master is ours to read and write, slave is held open until the app's
	// last process is gone, so that its last words can be read to the end.
	master, slave *os.File
	// keys is our terminal's keyboard; nil if standard input is none.
	keys *keyboard
	// crlf says that our terminal puts a carriage return before line feeds.
	crlf bool
	lines
}

// newlines are the flags of a terminal that turns line feeds into CR LF.
const newlines = syscall.OPOST | syscall.ONLCR

func openTerminal(ours *os.File, out io.Writer, margin int) (*terminal, error) {
	blocking, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	master, err := pollable(blocking)
	if err != nil {
		_ = slave.Close() // already reporting the first error
		return nil, err
	}
	t := &terminal{ours: ours, out: &guarded{w: out}, margin: margin, master: master, slave: slave}
	if now, err := guard.GetTermios(ours.Fd()); err == nil {
		if !inForeground(ours.Fd()) {
			cook(now) // the shell's, as it edits a line
		}
		t.crlf = now.Oflag&newlines == newlines
		_ = guard.SetTermios(slave.Fd(), now) // the system's defaults will do
	}
	t.resize()
	return t, nil
}

// pollable gives back f in a form whose reads can be ended by a deadline. f is
// closed.
func pollable(f *os.File) (*os.File, error) {
	defer func() { _ = f.Close() }() // a copy stays
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd) // already reporting the first error
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// leastColumns is how narrow a margin may make the app's terminal.
const leastColumns = 20

// resize gives the app's terminal the size of ours, without the margin. The
// system tells the app.
func (t *terminal) resize() {
	if size, err := pty.GetsizeFull(t.ours); err == nil {
		cols := size.Cols
		if room := int(cols) - t.margin; t.margin > 0 && room >= leastColumns {
			cols = uint16(room) //nolint:gosec // less than what it was
		}
		set := unix.Winsize{Row: size.Rows, Col: cols, Xpixel: size.X, Ypixel: size.Y}
		_ = control(t.master, func(fd uintptr) {
			_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &set)
		}) // gone: nobody looks at it any more
	}
}

// settings are those of the app's terminal, as the app has set them.
func (t *terminal) settings() (now *syscall.Termios, err error) {
	if e := control(t.master, func(fd uintptr) { now, err = guard.GetTermios(fd) }); e != nil {
		return nil, e
	}
	return now, err
}

// control calls f with a descriptor, without making it a blocking one as Fd
// does.
func control(file *os.File, f func(fd uintptr)) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(f)
}

// show makes what our terminal must get of what the app's terminal gave. Line
// feeds are turned into CR LF once, not twice: by ours as long as the app's
// does it too, so that lines of our own look right, and by none when the app
// draws for itself.
func (t *terminal) show(b []byte) []byte {
	now, err := t.settings()
	if err != nil {
		return append(t.held(), b...)
	}
	twice := t.crlf && now.Oflag&newlines == newlines
	if t.keys != nil {
		t.keys.output(twice)
	}
	if twice {
		return t.lines.show(b)
	}
	return append(t.held(), b...)
}

// foreground is the process group that has the app's terminal.
func (t *terminal) foreground() (group int, err error) {
	if e := control(t.master, func(fd uintptr) {
		group, err = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP)
	}); e != nil {
		return 0, e
	}
	return group, err
}

func (t *terminal) close() {
	_ = t.slave.Close()  // nothing is held in it
	_ = t.master.Close() // read to the end
}

// maxTyped is how many chunks of typed bytes wait for an app that does not
// read. What is typed beyond that is lost, as it is at any terminal.
const maxTyped = 64

// typing takes typed bytes to the app's terminal, but for the keys that are
// ours. A terminal that takes nothing does not keep our keys from being seen.
type typing struct {
	term    *terminal
	onKey   func(Key)
	suspend func()
	queue   chan []byte
	done    chan struct{}
}

func newTyping(term *terminal, onKey func(Key), suspend func()) *typing {
	t := &typing{term: term, onKey: onKey, suspend: suspend, queue: make(chan []byte, maxTyped), done: make(chan struct{})}
	if t.onKey == nil {
		t.onKey = func(Key) {}
	}
	go func() {
		defer close(t.done)
		for b := range t.queue {
			_, _ = term.master.Write(b) // the app is gone
		}
	}()
	return t
}

// close ends the writer; what the app has not taken is lost.
func (t *typing) close() {
	close(t.queue)
	_ = t.term.master.SetWriteDeadline(time.Unix(1, 0)) // closed already: done
	<-t.done
}

// bytes sends typed bytes on their way.
func (t *typing) bytes(b []byte) error {
	now, err := t.term.settings()
	if err != nil {
		return err // the app's terminal is closed
	}
	if now.Lflag&syscall.ISIG == 0 {
		t.pass(b)
		return nil
	}
	from := 0
	for i, c := range b {
		if act, echo := t.key(c, now); act != nil {
			t.pass(b[from:i])
			from = i + 1
			if now.Lflag&(syscall.ECHO|syscall.ECHOCTL) == syscall.ECHO|syscall.ECHOCTL {
				t.term.out.leave([]byte(echo + "\n"))
			}
			act()
		}
	}
	t.pass(b[from:])
	return nil
}

// key says what a byte does if it is one of our keys: as long as the app has
// neither taken its meaning away nor given it to another key.
func (t *typing) key(c byte, now *syscall.Termios) (act func(), echo string) {
	saved := t.term.keys.saved
	is := func(i int) bool { return c != noKey && saved.Cc[i] == c && now.Cc[i] == c }
	switch {
	case is(syscall.VINTR):
		return func() { t.onKey(KeyStop) }, "^C"
	case is(syscall.VQUIT):
		return func() { t.onKey(KeyStopNow) }, `^\`
	case is(syscall.VSUSP):
		return t.suspend, "^Z"
	default:
		return nil, ""
	}
}

func (t *typing) pass(b []byte) {
	if len(b) == 0 {
		return
	}
	select {
	case t.queue <- bytes.Clone(b):
	default:
	}
}
