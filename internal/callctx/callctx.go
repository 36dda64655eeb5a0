// Package callctx is the context of one call: a context.Context that costs a
// single allocation until somebody asks for its channel, and that tells those
// who watch it without a goroutine. A sidecar makes two for each call it
// carries, where those of the standard library cost a dozen allocations and a
// lock that all calls share.
package callctx

import (
	"context"
	"sync"
	"time"
)

// A Context ends when Cancel is called or its deadline passes. Its values are
// those of the context it was made from; the end of that context does not
// reach it by itself: whoever makes it (a connection, a link) cancels it, as
// it has to find its calls at its own end anyway.
//
// It is safe for concurrent use. Its owner must call Cancel once the call is
// over; after that it holds on to nothing.
type Context struct {
	values   context.Context //nolint:containedctx // this is a context
	deadline time.Time

	mu       sync.Mutex // guards what follows
	done     chan struct{}
	err      error
	cause    error
	timer    *time.Timer
	watchers []watcher
	room     [3]watcher // where watchers begins: few calls have more
	last     uint64
}

type watcher struct {
	id uint64
	f  func()
}

// New makes a context with the values of values. A zero deadline is none.
func New(values context.Context, deadline time.Time) *Context {
	c := &Context{values: values}
	if !deadline.IsZero() {
		c.Limit(deadline)
	}
	return c
}

// Limit gives a context that was made without a deadline one. It must be called
// at most once, before anybody but those who may end the context has it.
func (c *Context) Limit(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = deadline
	if c.err == nil {
		c.timer = time.AfterFunc(time.Until(deadline), func() {
			c.end(context.DeadlineExceeded, context.DeadlineExceeded)
		})
	}
}

// Cancel ends the context because of cause; nil is context.Canceled. Only the
// first end counts. It calls the functions of those who watch and returns when
// they have returned.
func (c *Context) Cancel(cause error) {
	if cause == nil {
		cause = context.Canceled
	}
	c.end(context.Canceled, cause)
}

func (c *Context) end(err, cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err, c.cause = err, cause
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.done != nil {
		close(c.done)
	}
	watchers := c.watchers
	c.watchers = nil
	c.mu.Unlock()
	for _, w := range watchers {
		w.f()
	}
}

// Deadline is that of New.
func (c *Context) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done is closed at the end.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err is nil before the end.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value is that of the context c was made from.
func (c *Context) Value(key any) any { return c.values.Value(key) }

// AfterFunc calls f once the context has ended, in the goroutine that ends it, so
// f must not wait; or in one of its own if it has ended already: the standard
// library, which uses it for contexts derived from this one, holds a lock here
// that f takes. stop reports whether it kept f from being called.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	w, ended := c.watch(f)
	if ended {
		go f()
	}
	return w.Stop
}

// watch has f called at the end, unless the context has ended.
func (c *Context) watch(f func()) (w Watch, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return Watch{}, true
	}
	if c.watchers == nil {
		c.watchers = c.room[:0]
	}
	c.last++
	c.watchers = append(c.watchers, watcher{c.last, f})
	return Watch{of: c, id: c.last}, false
}

// A Watch is a function that waits for a context's end. Its zero value watches
// nothing.
type Watch struct {
	of   *Context
	id   uint64
	stop func() bool
}

// OnEnd is context.AfterFunc, which allocates nothing of its own where ctx is a
// *Context: there f is called in the goroutine that ends it, or in the caller's if
// it has ended already, and must not wait.
func OnEnd(ctx context.Context, f func()) Watch {
	c, ours := ctx.(*Context)
	if !ours {
		return Watch{stop: context.AfterFunc(ctx, f)}
	}
	w, ended := c.watch(f)
	if ended {
		f()
	}
	return w
}

// Stop ends the watching. It reports whether the function will not be called
// any more because of it.
func (w Watch) Stop() bool {
	if w.stop != nil {
		return w.stop()
	}
	if w.of == nil {
		return false
	}
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	for i := range w.of.watchers {
		if w.of.watchers[i].id == w.id {
			n := len(w.of.watchers) - 1
			copy(w.of.watchers[i:], w.of.watchers[i+1:])
			w.of.watchers[n] = watcher{}
			w.of.watchers = w.of.watchers[:n]
			return true
		}
	}
	return false
}

// Cause is context.Cause, which knows only the standard library's contexts.
func Cause(ctx context.Context) error {
	c, ours := ctx.(*Context)
	if !ours {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}
