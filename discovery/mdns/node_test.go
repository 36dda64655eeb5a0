//go:build linux

package mdns_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/discovery/mdns"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/internal/within"
)

const (
	trust   = "0a1b2c3d"
	secret  = "the discovery key of a trust dom"
	nodeEnv = "MDNS_TEST_NODE"
	// patience is how long a question that nobody answers may take where the
	// machine is busy; it is far less than a test waits for an answer.
	patience = 20 * time.Second
)

// TestMain is a node, a capture or an occupier of the port where a test has
// started it as one, inside a network namespace.
func TestMain(m *testing.M) {
	role, config, _ := strings.Cut(os.Getenv(nodeEnv), " ")
	var err error
	switch role {
	case "":
		os.Exit(m.Run())
	case "node":
		err = runNode(config)
	case "capture":
		err = runCapture(config)
	case "occupy":
		err = runOccupier()
	case "send":
		err = runSend(config)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// nodeConfig says what a node is.
type nodeConfig struct {
	Secret   string
	Base     string // of the runtime folder; empty: none
	App      string // empty: it only asks
	Instance string
	Mesh     string
	LAN      bool
}

// A reply is a node's answer to a command.
type reply struct {
	Endpoints []discovery.Endpoint
	Took      time.Duration
	Problem   string
	Warnings  int64
	Err       string
}

// runNode is a Service driven by lines on standard input.
func runNode(config string) error {
	var c nodeConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	var warnings atomic.Int64
	o := mdns.Options{
		Key: []byte(c.Secret), LAN: c.LAN, NetNS: rundir.NetNS(),
		Warn: func(string) { warnings.Add(1) },
	}
	a := discovery.Announcement{
		Key: discovery.Key{Namespace: "default", App: c.App}, Instance: c.Instance, State: discovery.Ready,
	}
	if c.Mesh != "" {
		a.Addrs = []netip.AddrPort{netip.MustParseAddrPort(c.Mesh)}
	}
	if c.Base != "" {
		dir, err := rundir.Open(c.Base, trust)
		if err != nil {
			return err
		}
		o.Dir = dir.Path()
		if c.App != "" {
			reg, err := dir.Register(rundir.Entry{
				ID: c.Instance, App: c.App, Namespace: "default", State: "ready",
				Mesh: a.Addrs, NetNS: rundir.NetNS(), LAN: c.LAN,
			})
			if err != nil {
				return err
			}
			defer func() { _ = reg.Close() }()
		}
	}
	s, err := mdns.New(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	defer running.Wait()
	defer cancel()
	if c.App != "" {
		if err := s.Announce(a); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		r := obey(ctx, s, a, word, rest)
		r.Warnings = warnings.Load()
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		fmt.Println(string(data))
	}
	return nil
}

func obey(ctx context.Context, s *mdns.Service, a discovery.Announcement, word, rest string) (r reply) {
	key := discovery.Key{Namespace: "default", App: rest}
	began := time.Now()
	var err error
	switch word {
	case "find":
		_ = s.Version()
		if r.Endpoints = s.Lookup(key); len(r.Endpoints) == 0 {
			err = s.Ask(ctx, key)
			r.Endpoints = s.Lookup(key)
		}
	case "ask":
		for _, e := range s.All() {
			s.Failed(e)
		}
		err = s.Ask(ctx, key)
		r.Endpoints = s.Lookup(key)
	case "lookup":
		_ = s.Version()
		r.Endpoints = s.Lookup(key)
	case "all":
		r.Endpoints = s.All()
	case "state":
		a.State = discovery.State(rest)
		err = s.Announce(a)
	case "withdraw":
		err = s.Withdraw(ctx)
	}
	r.Took = time.Since(began)
	r.Problem = s.Problem()
	if err != nil {
		r.Err = err.Error()
	}
	return r
}

// A process is a test binary in a role.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

// start runs the test binary in a role inside a namespace and waits for its
// first line.
func start(t *testing.T, ns, role string) *process {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", ns, os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"="+role)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, in: in, lines: make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { p.kill(); within.Receive(t, read) })
	if line := p.line(); line != "ready" {
		t.Fatalf("the process said %q, want ready", line)
	}
	return p
}

func (p *process) line() string {
	p.t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-time.After(time.Minute):
		p.t.Fatal("the process says nothing")
		return ""
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// quit ends the process the good way.
func (p *process) quit() {
	p.t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the process ended with %v", err)
	}
}

func (p *process) do(command string) reply {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		p.t.Fatal(err)
	}
	var r reply
	line := p.line()
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		p.t.Fatalf("%s: the process said %q", command, line)
	}
	return r
}

// node starts a Service inside a namespace.
func node(t *testing.T, ns string, c nodeConfig) *process {
	t.Helper()
	if c.Secret == "" {
		c.Secret = secret
	}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, ns, "node "+string(config))
}

// until asks until the answer is right, for others need a moment.
func (p *process) until(command string, right func(reply) bool) reply {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		r := p.do(command)
		if right(r) {
			return r
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: still %+v", command, r)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// answered is right whoever it is that is found.
func answered(r reply) bool { return len(r.Endpoints) > 0 }

func found(instances ...string) func(reply) bool {
	return func(r reply) bool { return instancesOf(r) == fmt.Sprint(instances) }
}

func instancesOf(r reply) string {
	ids := []string{}
	for _, e := range r.Endpoints {
		ids = append(ids, e.Instance)
	}
	return fmt.Sprint(ids)
}

// namespaces counts those made, for names of their own.
var namespaces atomic.Int64

// namespace makes a network namespace with loopback up, or skips.
func namespace(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("making a network namespace needs ip (iproute2)")
	}
	name := fmt.Sprintf("pmd%d-%d", os.Getpid(), namespaces.Add(1))
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	in(t, name, "link set lo up")
	return name
}

// in runs ip inside a namespace.
func in(t *testing.T, ns, command string) {
	t.Helper()
	args := append([]string{"-n", ns}, strings.Fields(command)...)
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// pair makes two namespaces joined by a cable, as 10.9.0.1 and 10.9.0.2 on
// interfaces called eth0.
func pair(t *testing.T) (a, b string) {
	t.Helper()
	a, b = namespace(t), namespace(t)
	in(t, a, "link add eth0 type veth peer name eth0 netns "+b)
	for ns, addr := range map[string]string{a: "10.9.0.1/24", b: "10.9.0.2/24"} {
		in(t, ns, "link set eth0 up")
		in(t, ns, "addr add "+addr+" dev eth0")
	}
	return a, b
}

// runOccupier holds port 5353 for itself, as programs that do not share do.
func runOccupier() error {
	conn, err := net.ListenPacket("udp4", "0.0.0.0:5353")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
