package rundir_test

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/internal/rundir"
)

const trust = "0a1b2c3d"

// TestMain is an instance of its own where a test asks for one: it registers,
// says so, and waits to be killed.
func TestMain(m *testing.M) {
	if base := os.Getenv("RUNDIR_TEST_BASE"); base != "" {
		os.Exit(owner(base))
	}
	os.Exit(m.Run())
}

func owner(base string) int {
	dir, err := rundir.Open(base, trust)
	if err != nil {
		_, _ = os.Stdout.WriteString("open: " + err.Error() + "\n")
		return 1
	}
	reg, err := dir.Register(rundir.Entry{App: "orders", Namespace: "default", PID: os.Getpid()})
	if err != nil {
		_, _ = os.Stdout.WriteString("register: " + err.Error() + "\n")
		return 1
	}
	_, _ = os.Stdout.WriteString(reg.Entry().ID + "\n")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	return 0
}

// instance starts a process that owns an instance below base, and returns it
// and the instance's id.
func instance(t *testing.T, base string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RUNDIR_TEST_BASE="+base)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	id := strings.TrimSpace(line)
	if err != nil || !rundir.IsID(id) {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return cmd, id
}

func open(t *testing.T, base string) *rundir.Dir {
	t.Helper()
	dir, err := rundir.Open(base, trust)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func register(t *testing.T, dir *rundir.Dir, e rundir.Entry) *rundir.Registration {
	t.Helper()
	reg, err := dir.Register(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	return reg
}

func entries(t *testing.T, dir *rundir.Dir) []rundir.Entry {
	t.Helper()
	got, err := dir.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func files(t *testing.T, dir *rundir.Dir) []string {
	t.Helper()
	found, err := os.ReadDir(dir.Path())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		if f.Name() == "sweep.lock" {
			continue // stays, as locks do
		}
		names = append(names, f.Name())
	}
	return names
}

func TestAnInstanceIsVisibleFromRegisterToClose(t *testing.T) {
	t.Parallel()
	dir := open(t, t.TempDir())
	since := time.Now().UTC()
	reg := register(t, dir, rundir.Entry{
		App: "orders", Namespace: "shop", State: "starting", Since: since,
		Mesh:    []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:4711")},
		Command: []string{"go", "run", "."},
	})
	got := entries(t, dir)
	if len(got) != 1 || got[0].App != "orders" || got[0].ID != reg.Entry().ID || !got[0].Since.Equal(since) {
		t.Fatalf("Entries = %+v, want the one registered", got)
	}
	if want := filepath.Join(dir.Path(), got[0].ID+".sock"); got[0].Socket != want {
		t.Errorf("socket = %s, want %s", got[0].Socket, want)
	}
	if err := reg.Update(func(e *rundir.Entry) { e.State = "ready"; e.ID = "other"; e.Socket = "" }); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 1 || got[0].State != "ready" || got[0].Socket == "" {
		t.Errorf("after Update: %+v, want ready, id and socket unchanged", got)
	}
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	if err := reg.Close(); err != nil {
		t.Errorf("second Close = %v, want nil", err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("after Close there are %v, want nothing", got)
	}
}

func TestInstancesAreListedOldestFirst(t *testing.T) {
	t.Parallel()
	dir := open(t, t.TempDir())
	start := time.Now()
	for _, age := range []int{2, 0, 3, 1} {
		register(t, dir, rundir.Entry{App: "a", Since: start.Add(time.Duration(age) * time.Second)})
	}
	got := entries(t, dir)
	if len(got) != 4 {
		t.Fatalf("%d entries, want 4", len(got))
	}
	for i := 1; i < len(got); i++ {
		if got[i].Since.Before(got[i-1].Since) {
			t.Errorf("entry %d is older than the one before it", i)
		}
	}
}

func TestAnIDIsOwnedOnce(t *testing.T) {
	t.Parallel()
	dir := open(t, t.TempDir())
	reg := register(t, dir, rundir.Entry{App: "a"})
	if _, err := dir.Register(rundir.Entry{ID: reg.Entry().ID, App: "b"}); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("Register with a live id = %v, want ErrLocked", err)
	}
	if got := entries(t, dir); len(got) != 1 || got[0].App != "a" {
		t.Errorf("Entries = %+v, want the first owner's", got)
	}
	for _, bad := range []string{"short", "UPPERCAS", "../../xy", "aaaaaaaaa"} {
		if _, err := dir.Register(rundir.Entry{ID: bad}); err == nil {
			t.Errorf("Register accepts the id %q", bad)
		}
	}
}

func TestAKilledInstanceIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := open(t, base)
	killed, gone := instance(t, base)
	_, stays := instance(t, base)
	if got := entries(t, dir); len(got) != 2 {
		t.Fatalf("%d entries before the kill, want 2", len(got))
	}
	socket, err := net.Listen("unix", filepath.Join(dir.Path(), gone+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	socket.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = socket.Close()

	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	got := entries(t, dir)
	if len(got) != 1 || got[0].ID != stays {
		t.Fatalf("after the kill Entries = %+v, want only %s", got, stays)
	}
	for _, name := range files(t, dir) {
		if strings.HasPrefix(name, gone) {
			t.Errorf("%s is left behind", name)
		}
	}
}

func TestSweepingNeverTakesAStartingInstance(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := open(t, base)
	stop := make(chan struct{})
	var sweepers sync.WaitGroup
	for range 3 {
		sweepers.Go(func() {
			own, err := rundir.Open(base, trust)
			if err != nil {
				t.Error(err)
				return
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := own.Entries(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 300 {
		reg, err := dir.Register(rundir.Entry{App: "a"})
		if err != nil {
			t.Fatal(err)
		}
		id := reg.Entry().ID
		if held, err := filelock.Held(filepath.Join(dir.Path(), id+".lock")); err != nil || !held {
			t.Fatalf("the lock of a registered instance is held: %v, %v", held, err)
		}
		got := entries(t, dir)
		if len(got) != 1 || got[0].ID != id {
			t.Fatalf("Entries = %+v, want only %s", got, id)
		}
		if err := reg.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	sweepers.Wait()
}

func TestLeftoversAreSwept(t *testing.T) {
	t.Parallel()
	dir := open(t, t.TempDir())
	write := func(name, text string) string {
		path := filepath.Join(dir.Path(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("aaaaaaaa.lock", "")
	write("bbbbbbbb.json", `{"id":"bbbbbbbb"}`)
	write("cccccccc.sock", "")
	old := write("dddddddd-eeeeeeee.tmp", "{")
	write("ffffffff-eeeeeeee.tmp", "{")
	write("responder.0.lock", "")
	if err := os.Chtimes(old, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("Entries = %+v, want none", got)
	}
	if got, want := strings.Join(files(t, dir), " "), "ffffffff-eeeeeeee.tmp responder.0.lock"; got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
}

func TestADamagedEntryIsNotShownAndNotSweptWhileItsOwnerLives(t *testing.T) {
	t.Parallel()
	dir := open(t, t.TempDir())
	reg := register(t, dir, rundir.Entry{App: "a"})
	path := filepath.Join(dir.Path(), reg.Entry().ID+".json")
	if err := os.WriteFile(path, []byte(`{"id": "aa`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("Entries = %+v, want none", got)
	}
	if err := reg.Update(func(e *rundir.Entry) { e.State = "ready" }); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 1 || got[0].State != "ready" {
		t.Errorf("Entries = %+v, want the owner's", got)
	}
}

func TestTheOwnerPutsBackWhatACleanerTook(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := open(t, base)
	reg := register(t, dir, rundir.Entry{App: "a"})
	if restored, err := reg.Check(); restored || err != nil {
		t.Errorf("Check with all in place = %v, %v", restored, err)
	}
	if err := os.RemoveAll(dir.Path()); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("Entries of no folder = %+v", got)
	}
	if v := dir.Version(); v != 0 {
		t.Errorf("Version of no folder = %d, want 0", v)
	}
	if restored, err := reg.Check(); !restored || err != nil {
		t.Fatalf("Check without the folder = %v, %v", restored, err)
	}
	select {
	case <-reg.Restored():
	default:
		t.Error("nobody was told to open the socket again")
	}
	if got := entries(t, dir); len(got) != 1 || got[0].ID != reg.Entry().ID {
		t.Errorf("Entries = %+v, want the restored one", got)
	}
}

// On a memory file system several changes share one time of change; a version
// taken between them must not stand for the last.
func TestVersionChangesWithEachChangeOnAMemoryFileSystem(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "rundir"); err == nil { //nolint:usetesting // it has to be on a memory file system
		t.Cleanup(func() { _ = os.RemoveAll(shm) })
		base = shm
	}
	dir := open(t, base)
	reg := register(t, dir, rundir.Entry{App: "a"})
	for i := range 200 {
		before := dir.Version()
		_ = entries(t, dir)
		if err := reg.Update(func(e *rundir.Entry) { e.Run = i }); err != nil {
			t.Fatal(err)
		}
		if after := dir.Version(); after == before {
			t.Fatalf("change %d left the version at %d", i, after)
		}
	}
	// Left alone it comes to rest, so that it is worth asking.
	for deadline := time.Now().Add(time.Minute); ; {
		if before := dir.Version(); before == dir.Version() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the version of a folder nobody changes goes on changing")
		}
	}
}

func TestALongPathMovesTheSocket(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), strings.Repeat("long/", 20))
	dir := open(t, base)
	reg := register(t, dir, rundir.Entry{App: "a"})
	if !reg.SocketMoved() {
		t.Fatalf("the socket stays at %s", reg.Entry().Socket)
	}
	path := reg.Entry().Socket
	if len(path) > 100 {
		t.Errorf("the socket's path has %d bytes: %s", len(path), path)
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Dir(path)) })
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("Close leaves the socket behind")
	}
}

func TestAFolderThatIsNotSafeIsRefused(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	for name, c := range map[string]struct {
		spoil func(base string) error
		says  string
	}{
		"base is writable by others": {func(base string) error { return os.Chmod(base, 0o777) }, "mode is 0777"},
		"folder is readable by others": {func(base string) error {
			return errors.Join(os.Mkdir(filepath.Join(base, trust), 0o700), os.Chmod(filepath.Join(base, trust), 0o755))
		}, "mode is 0755"},
		"folder is a link": {func(base string) error {
			return os.Symlink(elsewhere, filepath.Join(base, trust))
		}, "symbolic link"},
		"folder is a file": {func(base string) error {
			return os.WriteFile(filepath.Join(base, trust), nil, 0o600)
		}, "not a directory"},
		"base belongs to somebody else": {func(base string) error {
			if os.Geteuid() != 0 {
				return errSkip
			}
			return os.Chown(base, 65534, 65534)
		}, "belongs to user nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := filepath.Join(t.TempDir(), "base")
			if err := os.Mkdir(base, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(base); errors.Is(err, errSkip) {
				t.Skip("only root can give a folder away")
			} else if err != nil {
				t.Fatal(err)
			}
			_, err := rundir.Open(base, trust)
			if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), base) {
				t.Errorf("Open = %v, want a configuration error that says %q and names the folder", err, c.says)
			}
		})
	}
}

var errSkip = errors.New("skip")

func TestOpenRefusesWhatIsNoRoot(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "0a1b2c3", "0a1b2c3dd", "../../..", "0a1b2c3g"} {
		if _, err := rundir.Open(t.TempDir(), bad); err == nil {
			t.Errorf("Open accepts the root %q", bad)
		}
	}
	if _, err := rundir.Open("relative", trust); err == nil {
		t.Error("Open accepts a relative path")
	}
}

func TestBaseFollowsTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"PILLION_RUNTIME_DIR": "/x/y/", "XDG_RUNTIME_DIR": "/run/user/1"}, "/x/y"},
		{map[string]string{"XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1/pillion"},
	} {
		if got := rundir.Base(func(key string) string { return c.env[key] }); got != c.want {
			t.Errorf("Base(%v) = %s, want %s", c.env, got, c.want)
		}
	}
	got := rundir.Base(func(string) string { return "" })
	if !filepath.IsAbs(got) || !strings.Contains(got, "pillion") {
		t.Errorf("Base without an environment = %s", got)
	}
}

func TestTrustsAreTheFoldersOfRoots(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if got, err := rundir.Trusts(filepath.Join(base, "none")); len(got) != 0 || err != nil {
		t.Errorf("Trusts of no folder = %v, %v", got, err)
	}
	for _, name := range []string{"ffffffff", "00000000", "note"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := rundir.Trusts(base)
	if err != nil || strings.Join(got, " ") != "00000000 ffffffff" {
		t.Errorf("Trusts = %v, %v", got, err)
	}
}

func BenchmarkEntries(b *testing.B) {
	dir, err := rundir.Open(b.TempDir(), trust)
	if err != nil {
		b.Fatal(err)
	}
	for range 50 {
		reg, err := dir.Register(rundir.Entry{App: "orders"})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = reg.Close() })
	}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := dir.Entries(); len(got) != 50 || err != nil {
			b.Fatal(len(got), err)
		}
	}
}

func BenchmarkVersion(b *testing.B) {
	dir, err := rundir.Open(b.TempDir(), trust)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_ = dir.Version()
	}
}

func TestTheMeshSocketGoesWithItsInstance(t *testing.T) {
	t.Parallel()
	dir := open(t, t.TempDir())
	reg, err := dir.Register(rundir.Entry{App: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	path, err := reg.MeshSocket()
	if err != nil || filepath.Ext(path) != ".mesh" || path == reg.Entry().Socket {
		t.Fatalf("the mesh's socket is %s, %v", path, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("with the socket there are %d instances", len(got))
	}
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
