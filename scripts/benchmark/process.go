package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// stopBound is how long a process may take to stop before it is killed. It is
// more than pillion's grace period.
const stopBound = 12 * time.Second

// A process is one we started, in a group of its own, so that a Ctrl-C reaches
// it through us only.
type process struct {
	name  string
	cmd   *exec.Cmd
	said  record
	ended chan struct{} // closed when it has ended, after err is set
	err   error
}

// start starts a program. Its output is kept in dir for the error that may
// need it.
func start(name, dir string, env []string, command ...string) (*process, error) {
	out, err := os.CreateTemp(dir, "output-")
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the process has its own
	p := &process{name: name, said: record{out.Name()}, ended: make(chan struct{})}
	p.cmd = exec.Command(command[0], command[1:]...) //nolint:noctx,gosec // stop ends it, gently; the programs are ours
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = out, out
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process, whatever it takes, and waits for its end.
func (p *process) stop() {
	select {
	case <-p.ended:
		killGroup(p.cmd.Process) // what it may have left
		return
	default:
	}
	terminate(p.cmd.Process)
	select {
	case <-p.ended:
	case <-time.After(stopBound):
	}
	killGroup(p.cmd.Process)
	<-p.ended
}

// await asks until ready has no error, the process ends, or ctx does.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, fmt.Errorf("%s is not ready after 20s", p.name))
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.said)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w\n%s", context.Cause(ctx), err, p.said)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A record is the file a process writes to, as a user's would; a pipe would
// have us read while others are measured.
type record struct{ file string }

// String is the last of it.
func (r record) String() string {
	const bound = 64 << 10
	f, err := os.Open(r.file)
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // it was only read
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-bound), io.SeekStart) // else there is nothing to read
	}
	text, _ := io.ReadAll(f) // what there is
	return strings.TrimSpace(string(text))
}

// environ is what every process gets: nothing of the user's settings.
func environ(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "NO_COLOR=1", "TMPDIR=" + os.TempDir()}, more...)
}
