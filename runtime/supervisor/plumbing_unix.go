//go:build linux || darwin

package supervisor

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/runtime/supervisor/guard"
)

// plumbing is what runs between the app's streams and ours.
type plumbing struct {
	child guard.Files // the guard's ends
	// closing are the guard's ends that are ours to close once it has them.
	closing []*os.File

	streams []*stream
	term    *terminal // nil without a pseudo-terminal
	keys    *keyboard // nil if no terminal of ours is read
	// input copies to the app's standard input; nil if the app has it itself.
	input func()
	// stdin is our end of the pipe input fills; nil if there is none.
	stdin *os.File
	// waits says that input ends when it is told to.
	waits bool
}

// look reads what is in f now. It sets f free of its deadline; the error is the
// deadline's if there is nothing.
func look(f *os.File, b []byte) (n int, err error) {
	_ = f.SetReadDeadline(time.Time{}) // closed: the read says so
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := conn.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), b) // it does not wait, so nothing interrupts it
		return true
	}); e != nil {
		return 0, e
	}
	switch {
	case err == syscall.EAGAIN: //nolint:errorlint // Read returns it bare
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func newPlumbing(spec Spec) (*plumbing, error) {
	pl := &plumbing{}
	err := pl.outputs(spec)
	if err == nil {
		err = pl.inputs(spec)
	}
	if err != nil {
		pl.close()
		return nil, err
	}
	return pl, nil
}

func (pl *plumbing) outputs(spec Spec) error {
	if spec.Terminal != nil {
		return pl.terminal(spec)
	}
	for _, out := range []struct {
		name  string
		dst   io.Writer
		child **os.File
	}{
		{Stdout, spec.Out, &pl.child.Out},
		{Stderr, spec.Err, &pl.child.Err},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			return fmt.Errorf("pipe for the app's %s: %w", out.name, err)
		}
		*out.child = w
		pl.closing = append(pl.closing, w)
		pl.streams = append(pl.streams, newStream(r, out.dst, logFor(spec, out.name)))
	}
	return nil
}

func (pl *plumbing) terminal(spec Spec) error {
	term, err := openTerminal(spec.Terminal, spec.Out, spec.Margin)
	if err != nil {
		return fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	pl.term = term
	pl.child.Out, pl.child.Err, pl.child.AppTTY = term.slave, term.slave, term.slave
	var copyTo io.Writer
	if w := logFor(spec, TTY); w != nil {
		copyTo = &lineLog{w: w}
	}
	s := newStream(term.master, term.out, copyTo)
	s.lens = term
	pl.streams = append(pl.streams, s)
	return nil
}

func (pl *plumbing) inputs(spec Spec) error {
	file, isFile := spec.In.(*os.File)
	if spec.In == nil || isFile && file == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		pl.child.In = null
		pl.closing = append(pl.closing, null)
		return nil
	}
	if isFile {
		if !isTerminal(file) {
			pl.child.In = file
			return nil
		}
		if pl.term != nil {
			return pl.keysThroughTerminal(spec, file)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe for the app's input: %w", err)
	}
	pl.child.In, pl.stdin = r, w
	pl.closing = append(pl.closing, r)
	if !isFile {
		pl.input = func() {
			_, _ = io.Copy(w, spec.In) // either side has ended
			_ = w.Close()              // the app sees the end
		}
		return nil
	}
	return pl.keysThroughPipe(file, w)
}

// keysThroughTerminal passes keys on to the app's pseudo-terminal, but ours.
func (pl *plumbing) keysThroughTerminal(spec Spec, tty *os.File) error {
	keys, err := newKeyboard(tty, true)
	if err != nil {
		return err
	}
	pl.keys, pl.term.keys = keys, keys
	pl.child.In, pl.child.Terminal = pl.term.slave, tty
	pl.input = func() {
		typing := newTyping(pl.term, spec.Keys, keys.suspend)
		keys.read(typing.bytes)
		typing.close()
	}
	pl.waits = true
	return nil
}

// keysThroughPipe passes whole lines on, as our terminal gives them: it stays
// as it is, and Ctrl-C is a signal.
func (pl *plumbing) keysThroughPipe(tty, w *os.File) error {
	keys, err := newKeyboard(tty, false)
	if err != nil {
		return err
	}
	pl.keys = keys
	pl.input = func() {
		keys.read(func(b []byte) error { _, err := w.Write(b); return err })
		_ = w.Close() // the app sees the end
	}
	pl.waits = true
	return nil
}

// started closes the guard's ends: it has them.
func (pl *plumbing) started() {
	for _, f := range pl.closing {
		_ = f.Close() // a copy of the guard's
	}
	pl.closing = nil
}

// close undoes newPlumbing, if nothing has been started.
func (pl *plumbing) close() {
	pl.started()
	for _, s := range pl.streams {
		_ = s.src.Close() // only read
	}
	if pl.stdin != nil {
		_ = pl.stdin.Close() // nothing was written
	}
	if pl.keys != nil {
		pl.keys.close()
	}
	if pl.term != nil {
		pl.term.close()
	}
}

func logFor(spec Spec, name string) io.Writer {
	if spec.Log == nil {
		return nil
	}
	return spec.Log(name)
}

func isTerminal(f *os.File) bool {
	_, err := guard.GetTermios(f.Fd())
	return err == nil
}
