package meshtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait. It is long because a machine may be busy;
// nothing waits for it to pass.
const patience = time.Minute

// A machine is where pillion is run: a home, a runtime folder and, if it has
// one, a network namespace. Machines that share a home are one trust domain.
type machine struct {
	t     testing.TB
	dir   string
	home  string
	run   string
	netns string
}

// newMachine is one with a home and a runtime folder of its own, in the
// namespace the tests run in.
func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, dir: dir, home: filepath.Join(dir, "home"), run: filepath.Join(dir, "run")}
	m.mkdir(m.run)
	return m
}

// beside is a machine with the same home and another runtime folder.
func (m *machine) beside() *machine {
	m.t.Helper()
	other := *m
	other.run = m.t.TempDir()
	if err := os.Chmod(other.run, 0o700); err != nil {
		m.t.Fatal(err)
	}
	return &other
}

// copied is a machine with a copy of the home, as another computer of the same
// user would have it.
func (m *machine) copied() *machine {
	m.t.Helper()
	m.must("init")
	other := newMachine(m.t)
	if err := os.CopyFS(other.home, os.DirFS(m.home)); err != nil {
		m.t.Fatal(err)
	}
	// CopyFS makes folders others may read; a home is one's own.
	err := filepath.WalkDir(other.home, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(filepath.Join(m.home, strings.TrimPrefix(path, other.home)))
		if err != nil {
			return err
		}
		return os.Chmod(path, info.Mode().Perm())
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return other
}

func (m *machine) mkdir(dir string) {
	m.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
}

// command is a program on the machine.
func (m *machine) command(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	if m.netns != "" {
		argv = append([]string{"ip", "netns", "exec", m.netns}, argv...)
	}
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "PILLION_"), strings.HasPrefix(name, "DAPR_"), strings.HasPrefix(name, "APP_"),
			name == "PORT", name == "HOME", name == "NAMESPACE", name == "XDG_RUNTIME_DIR":
		default:
			c.Env = append(c.Env, kv)
		}
	}
	c.Env = append(c.Env, "HOME="+m.dir, "PILLION_HOME="+m.home, "PILLION_RUNTIME_DIR="+m.run, "NO_COLOR=1")
	c.Env = append(c.Env, env...)
	c.Dir = m.dir
	return c
}

// A result is a command of pillion that has ended.
type result struct {
	out, err string
	status   int
}

func (r result) String() string { return fmt.Sprintf("exit %d\n%s%s", r.status, r.out, r.err) }

// pillion runs a command of pillion to its end.
func (m *machine) pillion(args ...string) result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	c := m.command(ctx, nil, append([]string{binary}, args...)...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatalf("pillion %v: %v", args, err)
	}
	return result{out.String(), errs.String(), c.ProcessState.ExitCode()}
}

// must is a command that has to succeed.
func (m *machine) must(args ...string) result {
	m.t.Helper()
	r := m.pillion(args...)
	if r.status != 0 {
		m.t.Fatalf("pillion %v: %v", args, r)
	}
	return r
}

// invoke is a call that the test's app has to answer.
func (m *machine) invoke(args ...string) (echo, string) {
	m.t.Helper()
	return m.answered(m.pillion(append([]string{"invoke", "--verbose"}, args...)...))
}

func (m *machine) answered(r result) (echo, string) {
	m.t.Helper()
	var e echo
	if err := json.Unmarshal([]byte(r.out), &e); err != nil || r.status != 0 {
		m.t.Fatalf("pillion invoke: %v: %v", err, r)
	}
	return e, r.err
}

// reach is invoke of an app that is found by multicast. One that the home has
// not seen is not waited for: on a busy machine the first answers may come too
// late, and a later call finds it.
func (m *machine) reach(args ...string) (echo, string) {
	m.t.Helper()
	var r result
	until(m.t, args[0]+" is found", func() bool {
		const notFound = 70
		r = m.pillion(append([]string{"invoke", "--verbose"}, args...)...)
		return r.status != notFound
	})
	return m.answered(r)
}

// An instance is an app as `pillion list` knows it.
type instance struct {
	AppID         string   `json:"appId"`
	Instance      string   `json:"instance"`
	Namespace     string   `json:"namespace"`
	Status        string   `json:"status"`
	HTTPPort      int      `json:"httpPort"`
	GRPCPort      int      `json:"grpcPort"`
	AppPort       int      `json:"appPort"`
	PID           int      `json:"daprdPid"`
	AppPID        int      `json:"appPid"`
	Identity      string   `json:"identity"`
	MeshAddresses []string `json:"meshAddresses"`
}

func (m *machine) list() []instance {
	m.t.Helper()
	var all []instance
	r := m.must("list", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &all); err != nil {
		m.t.Fatalf("pillion list: %v: %v", err, r)
	}
	return all
}

// instances are those of an app.
func (m *machine) instances(app string) []instance {
	m.t.Helper()
	var some []instance
	for _, i := range m.list() {
		if i.AppID == app {
			some = append(some, i)
		}
	}
	return some
}

// A door is the HTTP API of a sidecar, with connections that stay.
type door struct {
	t      testing.TB
	url    string
	client *http.Client
}

// door is the HTTP door of the sidecar with a pid.
func (m *machine) door(p *process) *door {
	m.t.Helper()
	for _, i := range m.list() {
		if i.PID == p.pid() {
			transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: m.dial}
			m.t.Cleanup(transport.CloseIdleConnections)
			return &door{m.t, fmt.Sprintf("http://127.0.0.1:%d", i.HTTPPort), &http.Client{Transport: transport, Timeout: patience}}
		}
	}
	m.t.Fatalf("%s is not in the list: %v", p.app, m.list())
	return nil
}

// A response is what a door says.
type response struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (r response) echo() (e echo) { _ = json.Unmarshal(r.body, &e); return e }

func (r response) String() string { return fmt.Sprintf("%d %s (%v)", r.status, r.body, r.err) }

// ok is an answer of the test's app.
func (r response) ok() bool { return r.err == nil && r.status == http.StatusOK }

// failure is what an error of ours says of itself.
func (r response) failure() (message string, metadata map[string]string) {
	var e struct {
		Message string
		Details []struct{ Metadata map[string]string }
	}
	_ = json.Unmarshal(r.body, &e) // an empty one says that it is none of ours
	if len(e.Details) > 0 {
		metadata = e.Details[0].Metadata
	}
	return e.Message, metadata
}

// call makes a call with an ID that the app writes down. The body cannot be
// sent twice.
func (d *door) call(verb, target, id string, body io.Reader, fields ...string) response {
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if body != nil {
		body = io.MultiReader(body) // of no known length, and without GetBody
	}
	r, err := http.NewRequestWithContext(ctx, verb, d.url+target, body)
	if err != nil {
		return response{err: err}
	}
	r.Header.Set("X-Id", id)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	answer, err := d.client.Do(r)
	if err != nil {
		return response{err: err}
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or broken
	data, err := io.ReadAll(answer.Body)
	return response{answer.StatusCode, answer.Header, data, err}
}

func (d *door) get(target string) response { return d.call("GET", target, "", nil) }

// reach is get of an app that is found by multicast, as that of a machine.
func (d *door) reach(target string) (r response) {
	d.t.Helper()
	until(d.t, target+" is found", func() bool {
		r = d.get(target)
		return !bytes.Contains(r.body, []byte("couldn't find service"))
	})
	return r
}

// dialPlain is a connection from where the tests run.
func dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// says checks what a report of `invoke --verbose` names.
func says(t testing.TB, report string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(report, w) {
			t.Errorf("the report does not name %q: %s", w, report)
		}
	}
}
