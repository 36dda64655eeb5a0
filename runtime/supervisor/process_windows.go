package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// ErrGuardLost says that somebody killed the guard. Windows has none: a job
// object ends the app's processes with us.
var ErrGuardLost = errors.New("the guard of the app was killed, and the app with it")

// hurryBound is how long output that nobody takes is waited for after Kill.
const hurryBound = time.Second

// A Process is a running app: its first process and whatever that started, all
// in one job.
type Process struct {
	cmd     *exec.Cmd
	job     windows.Handle
	streams []*stream
	ended   chan struct{}
	done    chan struct{}
	hurry   chan struct{}

	mu      sync.Mutex // guards what follows
	exit    Exit
	hasExit bool
	hurried bool
}

// Start runs an app in a job of its own, which Windows ends with us. It returns
// once the program has been started or could not be. Output goes through pipes;
// Terminal and Keys are not used. The caller must wait for Done.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if len(spec.Command) == 0 {
		_, err := Lookup("", "", nil)
		return nil, err
	}
	path, err := Lookup(spec.Command[0], spec.Dir, spec.Env)
	if err != nil {
		return nil, err
	}
	p := &Process{ended: make(chan struct{}), done: make(chan struct{}), hurry: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: path, Args: spec.Command, Dir: spec.Dir, Env: spec.Env, Stdin: spec.In,
		SysProcAttr: &syscall.SysProcAttr{
			// A group of its own, so that it can be sent a Ctrl-Break; suspended,
			// so that it is in the job before its first instruction.
			CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_SUSPENDED,
		},
	}
	if err := p.start(spec); err != nil {
		return nil, err
	}
	go p.run()
	return p, nil
}

func (p *Process) start(spec Spec) error {
	ends, err := p.pipes(spec)
	defer func() {
		for _, f := range ends {
			_ = f.Close() // the app's now
		}
	}()
	if err == nil {
		p.job, err = newJob()
	}
	if err != nil {
		p.closeStreams()
		return err
	}
	if err := p.cmd.Start(); err != nil {
		p.closeStreams()
		_ = windows.CloseHandle(p.job) // empty
		return &apperr.Error{
			Reason: apperr.NotExecutable, Err: err,
			What: "cannot execute " + spec.Command[0], Cause: err.Error(),
		}
	}
	if err := p.release(); err != nil {
		_ = p.cmd.Process.Kill() // it has not run yet
		_ = p.cmd.Wait()         // killed
		p.closeStreams()
		_ = windows.CloseHandle(p.job) // empty
		return fmt.Errorf("put the app into its job: %w", err)
	}
	return nil
}

// pipes makes the app's outputs and returns its ends of them.
func (p *Process) pipes(spec Spec) ([]*os.File, error) {
	var ends []*os.File
	for _, out := range []struct {
		name string
		dst  io.Writer
		to   *io.Writer
	}{
		{Stdout, spec.Out, &p.cmd.Stdout},
		{Stderr, spec.Err, &p.cmd.Stderr},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			return ends, fmt.Errorf("pipe for the app's %s: %w", out.name, err)
		}
		*out.to = w
		ends = append(ends, w)
		var copyTo io.Writer
		if spec.Log != nil {
			copyTo = spec.Log(out.name)
		}
		p.streams = append(p.streams, newStream(r, out.dst, copyTo))
	}
	return ends, nil
}

func (p *Process) closeStreams() {
	for _, s := range p.streams {
		_ = s.src.Close() // nothing was written
	}
}

// newJob makes a job whose processes end when our handle to it does.
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("make a job: %w", err)
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{
			LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
		},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))) //nolint:gosec // as the call wants it
	if err != nil {
		_ = windows.CloseHandle(job) // already reporting the first error
		return 0, fmt.Errorf("limit the job: %w", err)
	}
	return job, nil
}

// release puts the suspended process into the job and lets it run.
func (p *Process) release() error {
	const access = windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE | windows.PROCESS_SUSPEND_RESUME
	h, err := windows.OpenProcess(access, false, uint32(p.cmd.Process.Pid)) //nolint:gosec // not negative
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }() // only used
	if err := windows.AssignProcessToJobObject(p.job, h); err != nil {
		return err
	}
	resume := windows.NewLazySystemDLL("ntdll.dll").NewProc("NtResumeProcess")
	if status, _, _ := resume.Call(uintptr(h)); status != 0 {
		return windows.NTStatus(status)
	}
	return nil
}

func (p *Process) run() {
	defer close(p.done)
	for _, s := range p.streams {
		go s.copy()
	}
	_ = p.cmd.Wait() // the state says it
	p.mu.Lock()
	p.exit.Code, p.hasExit = p.cmd.ProcessState.ExitCode(), true
	p.exit.Leftovers = p.tree()
	p.mu.Unlock()
	close(p.ended)
	_ = windows.TerminateJobObject(p.job, 1) // what outlived it
	_ = windows.CloseHandle(p.job)           // nobody is in it
	for _, s := range p.streams {
		s.drain()
	}
	hurry, bound := p.hurry, (<-chan time.Time)(nil)
	for _, s := range p.streams {
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

// PID is the process id of the app's first process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// GuardPID is zero: Windows needs no guard.
func (p *Process) GuardPID() int { return 0 }

// Ended is closed when the app's first process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Done is closed when no process is left and all output has been passed on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for Done and says how the app ended.
func (p *Process) Wait() (Exit, error) {
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, nil
}

// Exit says how the app's first process ended, and whether it has.
func (p *Process) Exit() (Exit, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, p.hasExit
}

// Terminate sends the app's process group a Ctrl-Break. It does not wait.
func (p *Process) Terminate() error {
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.PID())) //nolint:gosec // not negative
}

// Kill ends every process of the job; Exit has those that were there. Output
// that nobody takes is not waited for any more.
func (p *Process) Kill() error {
	p.mu.Lock()
	if !p.hurried {
		p.hurried = true
		close(p.hurry)
	}
	p.mu.Unlock()
	select {
	case <-p.ended:
		return nil
	default:
	}
	killed := p.tree()
	p.mu.Lock()
	p.exit.Killed = killed
	p.mu.Unlock()
	if err := windows.TerminateJobObject(p.job, 137); err != nil {
		return fmt.Errorf("end the app's job: %w", err)
	}
	return nil
}

// Tree lists the app's processes, parents before children.
func (p *Process) Tree() ([]Proc, error) { return p.tree(), nil }

func (p *Process) tree() []Proc {
	all := snapshot()
	var tree []Proc
	in := map[int]bool{}
	for grown := true; grown; {
		grown = false
		for _, proc := range all {
			if in[proc.PID] || !in[proc.PPID] && proc.PID != p.PID() {
				continue
			}
			in[proc.PID], grown = true, true
			tree = append(tree, proc)
		}
	}
	return tree
}

// snapshot lists every process of the system.
func snapshot() []Proc {
	h, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = windows.CloseHandle(h) }() // only read
	entry := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	var all []Proc
	for err := windows.Process32First(h, &entry); err == nil; err = windows.Process32Next(h, &entry) {
		all = append(all, Proc{
			PID: int(entry.ProcessID), PPID: int(entry.ParentProcessID),
			Name: windows.UTF16ToString(entry.ExeFile[:]),
		})
	}
	return all
}

// look is not needed: files have no deadlines here.
func look(*os.File, []byte) (int, error) { return 0, os.ErrDeadlineExceeded }
