// Package supervisor runs an app's processes: it starts them behind a guard,
// passes their output on without a loss, tells what they listen on, and leaves
// none of them behind, whoever dies first.
package supervisor

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// The names of the streams a line of output may come from, as Spec.Log is
// asked for them.
const (
	Stdout = "stdout"
	Stderr = "stderr"
	// TTY is both outputs at once, through one pseudo-terminal.
	TTY = "tty"
)

// A Spec says what to run and where its input and output go.
type Spec struct {
	// Command is the program and its arguments. The program is looked for as
	// Lookup does it.
	Command []string
	// Dir is the folder it runs in; empty means ours.
	Dir string
	// Env is its whole environment, as "NAME=value".
	Env []string

	// In is its standard input; nil means an empty one. An *os.File that is no
	// terminal is handed to the app itself. A terminal's keys go through the
	// pseudo-terminal if there is one, else through a pipe. Any other reader is
	// copied into a pipe; a Read that is in flight when the app ends is not
	// waited for.
	In io.Reader
	// Out and Err get every byte, with the back-pressure the app would have
	// without us. With a Terminal both outputs go to Out.
	Out, Err io.Writer
	// Terminal is our terminal, if both our outputs are that one. The app then
	// has a pseudo-terminal of its own, with the same size and settings.
	Terminal *os.File
	// Margin is how many columns narrower than ours the app's terminal is.
	Margin int
	// Job says that suspending our job suspends the app, and then us. Of several
	// apps of one process one may have it.
	Job bool

	// Log returns where a copy of a stream (Stdout, Stderr or TTY) goes. The
	// writer must not block; its errors are ignored. Nil keeps no copy.
	Log func(stream string) io.Writer
	// Keys is called for the keys that are ours while the app leaves signal
	// keys to its terminal. It must not block. Nil ignores them.
	Keys func(Key)

	// LeftoverGrace is how long processes that outlive the app's first one may
	// take to end by themselves before they are killed. Default: 2s. It does
	// not count once Terminate has been called: then Kill is the caller's.
	LeftoverGrace time.Duration
}

// A Key is a key of the terminal that is pillion's, not the app's.
type Key uint8

const (
	// KeyStop is Ctrl-C: stop.
	KeyStop Key = iota + 1
	// KeyStopNow is Ctrl-\: stop at once.
	KeyStopNow
)

// A Proc is a process of the app's tree.
type Proc struct {
	PID, PPID int
	// Name is the system's short name of it.
	Name string
}

// String is the name and the process id: "node (4131)".
func (p Proc) String() string { return fmt.Sprintf("%s (%d)", p.Name, p.PID) }

// A Socket is a listening TCP socket.
type Socket struct {
	Addr netip.AddrPort
	// PID and Name are of the process that holds it; of several, the one
	// nearest to the app's first process.
	PID  int
	Name string
}

// An Exit says how an app ended.
type Exit struct {
	// Code is the exit status a shell would show: the app's own, 128+n if it
	// died of signal n.
	Code int
	// Signal is what it died of; 0 if it ended by itself.
	Signal syscall.Signal
	// Leftovers are the processes that were still there when the app's first
	// one had ended by itself. They were asked to end.
	Leftovers []Proc
	// Killed are those that had to be killed.
	Killed []Proc
}

// String says it in a few words: "exit 1", "exit 137 (SIGKILL)".
func (e Exit) String() string {
	if e.Signal == 0 {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return fmt.Sprintf("exit %d (%s)", e.Code, signalName(e.Signal))
}

// A Holder is a process that listens on a TCP port. What cannot be read,
// because it is another user's, is zero.
type Holder struct {
	PID     int
	UID     int // -1 if unknown
	Name    string
	Command []string
	Folder  string
	Since   time.Time
}

// String names it: "node (pid 4131)".
func (h Holder) String() string {
	var b strings.Builder
	switch {
	case h.Name != "":
		b.WriteString(h.Name)
	case h.UID >= 0:
		fmt.Fprintf(&b, "a program of user %d", h.UID)
	default:
		b.WriteString("another program")
	}
	if h.PID != 0 {
		fmt.Fprintf(&b, " (pid %d)", h.PID)
	}
	return b.String()
}
