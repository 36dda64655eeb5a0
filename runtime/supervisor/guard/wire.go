//go:build linux || darwin

package guard

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"
)

// maxOrder bounds an order: Linux takes no more than some megabytes of
// arguments and environment.
const maxOrder = 64 << 20

// An Order is what pillion tells the guard, once.
type Order struct {
	Path string // of the program, absolute or relative to Dir
	Args []string
	Env  []string
	Dir  string // empty: where the guard is
	// TTY says that the app has a pseudo-terminal.
	TTY bool
	// Saved is the state of the user's terminal to give back if pillion dies
	// while it is as in Raw. Nil leaves it alone.
	Saved, Raw *syscall.Termios
}

// Files are what the guard is started with. Terminal and AppTTY may be nil.
type Files struct {
	Orders, Reports  *os.File
	In, Out, Err     *os.File
	AppTTY, Terminal *os.File
}

// Attr is how the guard's process is started: by executing our own binary
// with Name as its only argument.
func Attr(f Files) *os.ProcAttr {
	null := (*os.File)(nil)
	return &os.ProcAttr{
		// One thread of Go code and no more memory than needed.
		Env:   []string{mark + "=1", "GOMAXPROCS=1"},
		Files: []*os.File{null, null, null, f.Orders, f.Reports, f.In, f.Out, f.Err, f.AppTTY, f.Terminal},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
}

// A Kind is what a Report is about.
type Kind byte

const (
	// Started carries the process id of the app.
	Started Kind = 's'
	// Failed carries the errno of starting it. Nothing follows.
	Failed Kind = 'f'
	// Ended carries the wait status of the app's first process.
	Ended Kind = 'e'
	// Done says that no process of the app is left. Nothing follows.
	Done Kind = 'd'
)

// A Report is what the guard tells pillion.
type Report struct {
	Kind  Kind
	Value int
}

const reportSize = 5

func report(r Report) {
	var b [reportSize]byte
	b[0] = byte(r.Kind)
	binary.LittleEndian.PutUint32(b[1:], uint32(r.Value)) //nolint:gosec // a pid, an errno or a wait status
	_, _ = syscall.Write(fdReports, b[:])                 // pillion is gone: the other pipe says so
}

// ReadReport reads the next report. It returns io.EOF once the guard is gone.
func ReadReport(r io.Reader) (Report, error) {
	var b [reportSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Report{}, err
	}
	return Report{Kind: Kind(b[0]), Value: int(binary.LittleEndian.Uint32(b[1:]))}, nil
}

// Send writes the order.
func (o Order) Send(w io.Writer) error {
	body := appendString(nil, o.Path)
	body = appendStrings(body, o.Args)
	body = appendStrings(body, o.Env)
	body = appendString(body, o.Dir)
	tty := ""
	if o.TTY {
		tty = "t"
	}
	body = appendString(body, tty)
	body = appendString(body, termiosBytes(o.Saved))
	body = appendString(body, termiosBytes(o.Raw))
	if len(body) > maxOrder {
		return syscall.E2BIG
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body))) //nolint:gosec // checked above
	_, err := w.Write(append(head, body...))
	return err
}

// errOrder is an order that breaks off or contradicts itself.
var errOrder = errors.New("not an order")

func readOrder(fd int) (Order, error) {
	var head [4]byte
	if err := readFull(fd, head[:]); err != nil {
		return Order{}, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > maxOrder {
		return Order{}, errOrder
	}
	body := make([]byte, size)
	if err := readFull(fd, body); err != nil {
		return Order{}, err
	}
	return parseOrder(body)
}

func parseOrder(body []byte) (Order, error) {
	r := orderReader{rest: body}
	o := Order{Path: r.text(), Args: r.texts(), Env: r.texts(), Dir: r.text()}
	o.TTY = r.text() != ""
	o.Saved = termiosOf(r.text())
	o.Raw = termiosOf(r.text())
	if r.bad || len(r.rest) != 0 {
		return Order{}, errOrder
	}
	return o, nil
}

// readFull reads from a descriptor without Go's poller, which the guard does
// not start.
func readFull(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Read(fd, b)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			b = b[n:]
		}
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s))) //nolint:gosec // the whole order is bounded
	return append(b, s...)
}

func appendStrings(b []byte, all []string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(all))) //nolint:gosec // the whole order is bounded
	for _, s := range all {
		b = appendString(b, s)
	}
	return b
}

// An orderReader takes an order apart. It remembers that it ran out.
type orderReader struct {
	rest []byte
	bad  bool
}

func (r *orderReader) number() int {
	if len(r.rest) < 4 {
		r.bad = true
		return 0
	}
	n := binary.LittleEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	if uint64(n) > uint64(len(r.rest)) { // each string takes more than nothing
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *orderReader) text() string {
	n := r.number()
	if r.bad {
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *orderReader) texts() []string {
	n := r.number()
	var all []string
	for range n {
		if r.bad {
			return nil
		}
		all = append(all, r.text())
	}
	return all
}

func termiosBytes(t *syscall.Termios) string {
	if t == nil {
		return ""
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(t)), unsafe.Sizeof(*t))) //nolint:gosec // plain memory, read by the same binary
}

func termiosOf(s string) *syscall.Termios {
	t := new(syscall.Termios)
	if len(s) != int(unsafe.Sizeof(*t)) {
		return nil
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(t)), unsafe.Sizeof(*t)), s) //nolint:gosec // plain memory, written by the same binary
	return t
}

// GetTermios reads a terminal's settings.
func GetTermios(fd uintptr) (*syscall.Termios, error) {
	t := new(syscall.Termios)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, getTermios, uintptr(unsafe.Pointer(t))); errno != 0 { //nolint:gosec // as the call wants it
		return nil, errno
	}
	return t, nil
}

// SetTermios changes a terminal's settings at once; nothing typed is lost.
func SetTermios(fd uintptr, t *syscall.Termios) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, setTermios, uintptr(unsafe.Pointer(t))); errno != 0 { //nolint:gosec // as the call wants it
		return errno
	}
	return nil
}
