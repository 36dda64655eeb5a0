package mesh

import "sync"

// maxCrew bounds the goroutines that a link keeps for the next calls.
const maxCrew = 256

// A crew is the goroutines that serve a link's calls. They are kept from call
// to call for their stacks: a new one's grows several times on the way to the
// app and back, which was a sixth of what a callee spent.
type crew struct {
	serve func(*incoming)
	all   sync.WaitGroup

	mu   sync.Mutex // guards what follows
	rest []chan *incoming
	over bool
}

// take has a call served. It does not wait.
func (c *crew) take(in *incoming) {
	c.mu.Lock()
	if n := len(c.rest); n > 0 {
		next := c.rest[n-1]
		c.rest[n-1] = nil
		c.rest = c.rest[:n-1]
		c.mu.Unlock()
		next <- in
		return
	}
	c.mu.Unlock()
	c.all.Add(1)
	go c.work(in)
}

func (c *crew) work(in *incoming) {
	defer c.all.Done()
	calls := make(chan *incoming, 1)
	for in != nil {
		c.serve(in)
		if !c.wait(calls) {
			return
		}
		in = <-calls
	}
}

// wait reports whether another call may come by calls.
func (c *crew) wait(calls chan *incoming) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || len(c.rest) >= maxCrew {
		return false
	}
	c.rest = append(c.rest, calls)
	return true
}

// dismiss ends those who have no call. With forGood nobody waits for another
// one any more, and it returns when all have ended; no call may be taken then.
func (c *crew) dismiss(forGood bool) {
	c.mu.Lock()
	rest := c.rest
	c.rest = nil
	c.over = c.over || forGood
	c.mu.Unlock()
	for _, calls := range rest {
		calls <- nil
	}
	if forGood {
		c.all.Wait()
	}
}
