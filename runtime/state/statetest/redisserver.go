package statetest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
)

// A RedisServer is a real redis-server of one test, on a port that stays its
// own while it is down.
type RedisServer struct {
	t       testing.TB
	port    *porttest.Port
	args    []string
	process *exec.Cmd
	output  bytes.Buffer
	exited  chan struct{}
}

// ServeRedis starts a server that keeps nothing, unless args say otherwise. It
// ends with the test.
func ServeRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed: scripts/test --install gets it")
	}
	dir := t.TempDir()
	port := porttest.Reserve(t)
	s := &RedisServer{t: t, port: port, args: append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(int(port.Number())), "--dir", dir, "--save", "", "--appendonly", "no",
		"--databases", "100", "--daemonize", "no", "--logfile", filepath.Join(dir, "log"),
	}, args...)}
	s.Start()
	t.Cleanup(s.Kill)
	return s
}

// Addr is its host:port.
func (s *RedisServer) Addr() string { return s.port.Addr() }

// Port is its port.
func (s *RedisServer) Port() int { return int(s.port.Number()) }

// Start starts the server after Kill, and returns when it answers.
func (s *RedisServer) Start() {
	s.t.Helper()
	s.process = exec.Command("redis-server", s.args...) //nolint:gosec,noctx // our own arguments; it outlives the test's context
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(p *exec.Cmd, exited chan struct{}) {
		_ = p.Wait() // its end is what counts
		close(exited)
	}(s.process, s.exited)
	within.Until(s.t, "redis-server to answer", func() bool {
		select {
		case <-s.exited:
			s.t.Fatalf("redis-server has ended: %s", s.output.String())
		default:
		}
		return s.answers()
	})
}

// answers reports whether the server takes commands: with or without a password.
func (s *RedisServer) answers() bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(s.t.Context(), "tcp", s.Addr())
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // cannot fail on an open connection
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	answer := make([]byte, 7)
	n, _ := conn.Read(answer)
	return string(answer[:n]) == "+PONG\r\n" || bytes.HasPrefix(answer[:n], []byte("-NOAUTH"))
}

// Kill ends the server at once.
func (s *RedisServer) Kill() {
	_ = s.process.Process.Kill() // it may be gone
	<-s.exited
}

// Signal sends the server a signal.
func (s *RedisServer) Signal(sig os.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
