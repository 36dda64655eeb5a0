package app

import (
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// crew are the goroutines that carry calls: they are waited for when the app's
// Run ends.
type crew struct {
	mu     sync.Mutex // guards what follows
	busy   int
	closed bool
	idle   chan struct{} // closed when closed and busy is 0
}

// join makes the present goroutine one of the crew until done; or reports that
// the crew has gone home.
func (c *crew) join() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.busy++
	return true
}

// run starts work in a goroutine; or reports that the crew has gone home.
func (c *crew) run(work func()) bool {
	if !c.join() {
		return false
	}
	go func() {
		defer c.done()
		work()
	}()
	return true
}

func (c *crew) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	if c.closed && c.busy == 0 {
		close(c.idle)
	}
}

// closeBody ends a call's body without waiting for it: net/http's request body
// cannot be closed while somebody reads it.
func (c *crew) closeBody(call *invoke.Call) {
	if call.Body == nil {
		return
	}
	if !c.run(func() { closeBody(call) }) {
		closeBody(call)
	}
}

// end waits until everybody is done, for at most limit: a client that neither
// sends nor goes away must not keep the sidecar.
func (c *crew) end(limit time.Duration) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return true
	}
	c.closed = true
	c.idle = make(chan struct{})
	if c.busy == 0 {
		close(c.idle)
	}
	c.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.idle:
		return true
	case <-timer.C:
		return false
	}
}
