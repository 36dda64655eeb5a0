package redis_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

// direct looks at a database of a server, past any store.
func direct(t *testing.T, s *statetest.RedisServer, db int) *client.Client {
	t.Helper()
	c := client.NewClient(&client.Options{
		Addr: s.Addr(), DB: db, Protocol: 2, DisableIdentity: true, MaxRetries: -1,
		DialTimeout: within.Patience, ReadTimeout: within.Patience, WriteTimeout: within.Patience, PoolTimeout: within.Patience,
	})
	t.Cleanup(func() { _ = c.Close() })
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
