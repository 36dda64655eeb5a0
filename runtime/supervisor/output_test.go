//go:build linux

package supervisor_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// digest counts and hashes what it gets.
type digest struct {
	mu sync.Mutex // guards what follows
	n  int64
	h  hash.Hash
}

func newDigest() *digest { return &digest{h: sha256.New()} }

func (d *digest) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n += int64(len(b))
	return d.h.Write(b)
}

func (d *digest) count() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

func (d *digest) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("%d bytes %x", d.n, d.h.Sum(nil))
}

func TestStreamsAreKeptApartAndCopied(t *testing.T) {
	t.Parallel()
	var out, errs buffer
	var logs [2]buffer
	names := map[string]*buffer{supervisor.Stdout: &logs[0], supervisor.Stderr: &logs[1]}
	wait(t, start(t, supervisor.Spec{
		Command: sh(`printf 'a\r\n\0\377b'; printf 'e\n' >&2`), Out: &out, Err: &errs,
		Log: func(stream string) io.Writer { return names[stream] },
	}))
	if got, want := out.String(), "a\r\n\x00\xffb"; got != want || logs[0].String() != want {
		t.Errorf("stdout %q, copy %q, want %q", got, logs[0].String(), want)
	}
	if got, want := errs.String(), "e\n"; got != want || logs[1].String() != want {
		t.Errorf("stderr %q, copy %q, want %q", got, logs[1].String(), want)
	}
}

func TestABurstGoesThroughWhole(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	want := newDigest()
	block := bytes.Repeat([]byte("a line of a burst, one of many\n"), 1<<15)
	for left := size; left > 0; left -= min(left, len(block)) {
		_, _ = want.Write(block[:min(left, len(block))])
	}
	out, copied := newDigest(), newDigest()
	p := start(t, supervisor.Spec{
		Command: sh(fmt.Sprintf(`yes 'a line of a burst, one of many' | head -c %d`, size)), Out: out,
		Log: func(stream string) io.Writer {
			if stream == supervisor.Stdout {
				return copied
			}
			return nil
		},
	})
	for came := int64(-1); came != out.count(); { // a busy machine may take minutes, but goes on
		came = out.count()
		select {
		case <-p.Done():
		case <-time.After(patience):
		}
	}
	wait(t, p)
	if out.String() != want.String() || copied.String() != want.String() {
		t.Errorf("got %v, copy %v, want %v", out, copied, want)
	}
}

// gate is a writer that takes nothing until it is opened.
type gate struct {
	open chan struct{}
	*digest
}

func (g gate) Write(b []byte) (int, error) {
	<-g.open
	return g.digest.Write(b)
}

func TestASlowReaderHoldsTheAppBackAndLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := gate{make(chan struct{}), newDigest()}
	p := start(t, supervisor.Spec{
		Dir: dir, Out: g, Command: sh(`touch begun; head -c 1000000 /dev/zero; touch written`),
	})
	eventually(t, "the app writes", exists(dir+"/begun"))
	eventually(t, "the app is held back", func() bool { return writing(p) })
	if exists(dir + "/written")() {
		t.Error("the app wrote a megabyte that nobody read")
	}
	close(g.open)
	wait(t, p)
	if got, want := g.n, int64(1000000); got != want {
		t.Errorf("%d bytes came through, want %d", got, want)
	}
}

// writing reports whether a process of the app hangs in a write to a pipe.
func writing(p *supervisor.Process) bool {
	tree, _ := p.Tree()
	for _, proc := range tree {
		where, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", proc.PID))
		call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", proc.PID))
		if strings.Contains(string(where), "pipe") || strings.HasPrefix(string(call), "1 0x1 ") {
			return true
		}
	}
	return false
}

func TestKillDoesNotWaitForAReaderWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := gate{make(chan struct{}), newDigest()}
	defer close(g.open)
	p := start(t, supervisor.Spec{Dir: dir, Out: g, Command: sh(`touch begun; yes`)})
	eventually(t, "the app writes", exists(dir+"/begun"))
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
}

func TestTheLastWordsAreHeard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out buffer
	p := start(t, supervisor.Spec{Dir: dir, Out: &out, Command: sh(
		// What begins while the tree is being asked may be asked, too: seq is not to mind.
		`trap 'trap "" TERM; seq 1 20000; exit 5' TERM; touch ready; while :; do sleep 0.01; done`)})
	eventually(t, "the app is ready", exists(dir+"/ready"))
	_ = p.Terminate()
	exit := wait(t, p)
	if !strings.HasSuffix(out.String(), "\n19999\n20000\n") || exit.Code != 5 {
		t.Errorf("ended with %v after %d bytes, want all lines to 20000", exit, len(out.String()))
	}
}

func TestACrashLosesNoLine(t *testing.T) {
	t.Parallel()
	var errs buffer
	exit := wait(t, start(t, supervisor.Spec{Err: &errs, Command: sh(`seq 1 20000 >&2; kill -ABRT $$`)}))
	if !strings.HasSuffix(errs.String(), "\n20000\n") || exit.Signal != syscall.SIGABRT {
		t.Errorf("ended with %v after %d bytes, want SIGABRT and all lines", exit, len(errs.String()))
	}
}

func TestAReaderThatIsGoneBreaksTheAppsPipe(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	_ = r.Close()
	exit := wait(t, start(t, supervisor.Spec{Command: []string{"yes"}, Out: w}))
	if exit.Signal != syscall.SIGPIPE {
		t.Errorf("ended with %v, want SIGPIPE as without us", exit)
	}
}

func TestAFullDiskDoesNotStopTheApp(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	var copied buffer
	exit := wait(t, start(t, supervisor.Spec{
		Command: sh(`seq 1 30000; exit 4`), Out: full,
		Log: func(string) io.Writer { return &copied },
	}))
	if exit.Code != 4 || !strings.HasSuffix(copied.String(), "\n30000\n") {
		t.Errorf("ended with %v, %d bytes copied; want 4 and all lines", exit, len(copied.String()))
	}
}

func TestAPipeHeldOpenFromOutsideDoesNotHoldUs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out buffer
	p := start(t, supervisor.Spec{Dir: dir, Out: &out, Command: sh(`echo here; touch ready; while [ ! -e go ]; do sleep 0.01; done`)})
	eventually(t, "the app is ready", exists(dir+"/ready"))
	held, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", p.PID()), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	if out.String() != "here\n" {
		t.Errorf("output %q, want what the app wrote", out.String())
	}
}
