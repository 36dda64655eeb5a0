package redis_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
)

// A server is a real redis-server of one test.
type server struct {
	t       *testing.T
	port    *porttest.Port
	args    []string
	process *exec.Cmd
	output  bytes.Buffer
	exited  chan struct{}
}

// serve starts a server that keeps nothing, unless args say otherwise.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed: scripts/test --install gets it")
	}
	dir := t.TempDir()
	port := porttest.Reserve(t)
	s := &server{t: t, port: port, args: append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(int(port.Number())), "--dir", dir, "--save", "", "--appendonly", "no",
		"--databases", "100", "--daemonize", "no", "--logfile", filepath.Join(dir, "log"),
	}, args...)}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) address() string { return s.port.Addr() }

// start starts the server, and returns when it answers.
func (s *server) start() {
	s.t.Helper()
	s.process = exec.Command("redis-server", s.args...)
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
func (s *server) answers() bool {
	conn, err := net.DialTimeout("tcp", s.address(), time.Second)
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

// kill ends the server at once.
func (s *server) kill() {
	_ = s.process.Process.Kill() // it may be gone
	<-s.exited
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// client looks at a database directly.
func (s *server) client(db int) *client.Client {
	c := client.NewClient(&client.Options{Addr: s.address(), DB: db, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// age brings every key of a database nearer to its end.
func age(ctx context.Context, c *client.Client, d time.Duration) error {
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		left, err := c.PTTL(ctx, keys.Val()).Result()
		if err != nil {
			return err
		}
		if left < 0 {
			continue // lives for ever, or is gone
		}
		if err := c.PExpire(ctx, keys.Val(), left-d).Err(); err != nil {
			return err
		}
	}
	return keys.Err()
}

// A cutter stands before a server and can cut its connections.
type cutter struct {
	ln     net.Listener
	to     string
	served sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	asked int  // requests that came, each in one piece
	deaf  bool // answers are swallowed, and the connection ends with the first
}

func cut(t *testing.T, to string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{ln: ln, to: to}
	c.served.Go(c.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		c.mu.Lock()
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.served.Wait()
	})
	return c
}

func (c *cutter) accept() {
	for {
		in, err := c.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, in, out)
		c.mu.Unlock()
		c.served.Go(func() { c.copy(in, out, false) })
		c.served.Go(func() { c.copy(out, in, true) })
	}
}

func (c *cutter) copy(from, to net.Conn, isAnswer bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		c.mu.Lock()
		deaf := c.deaf && isAnswer
		if n > 0 && !isAnswer {
			c.asked++
		}
		c.mu.Unlock()
		if err != nil || deaf {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (c *cutter) swallow(answers bool) {
	c.mu.Lock()
	c.deaf = answers
	c.mu.Unlock()
}

func (c *cutter) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}
