package instance

import (
	"context"
	"net/http"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// A Restarted is how an app was restarted.
type Restarted struct {
	// Took is from the request to the moment the new process was ready.
	Took time.Duration
	// Restarts is how often the instance's process has been replaced or started
	// again by now.
	Restarts int
}

// Restart has the instance replace its app's process, and waits until the new
// one is ready. Why there is none is the error, in the instance's own words. It
// waits as long as the instance says that it is alive, until ctx ends; what is
// under way goes on.
func (c *Client) Restart(ctx context.Context) (Restarted, error) {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer watch.Stop()

	body, err := c.ask(ctx, http.MethodPost, "/v1/restart")
	if err != nil {
		return Restarted{}, err
	}
	defer func() { _ = body.Close() }() // only read
	last, err := c.follow(body, func() { watch.Reset(patience) })
	switch {
	case err != nil:
		c.goneSoon(ctx) // so that the error says so
		return Restarted{}, c.failed(ctx, err)
	case last.Error != nil:
		return Restarted{Restarts: last.Restarts}, last.Error
	}
	return Restarted{Took: time.Since(began), Restarts: last.Restarts}, nil
}

// restart has the app's process replaced and tells, a JSON object a line, that
// it is at work.
func (s *server) restart(w http.ResponseWriter, r *http.Request) {
	control, can := s.control.(Restarter)
	if !can {
		answer(w, http.StatusConflict, NotRun(s.control.Status().App))
		return
	}
	defer s.narrate()()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- control.Restart(ctx) }()
	newNarrator(s, w).runRestart(cancel, done)
}

// runRestart writes a line for each change until done says how it went. It
// calls cancel when the instance is over, or nobody listens any more.
func (n *narrator) runRestart(cancel func(), done <-chan error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	over, look := n.server.over, tick.C
	for {
		select {
		case err := <-done:
			n.restarted(err)
			return
		case <-over:
			over = nil
			cancel()
		case <-look:
			if !n.say(false) {
				look = nil
				cancel()
			}
		}
	}
}

// restarted writes the last line.
func (n *narrator) restarted(err error) {
	status := n.server.control.Status()
	p := Progress{State: status.State, Calls: status.Calls, Ending: status.Ending, Restarts: status.Restarts, Last: true}
	if err != nil {
		p.Error = apperr.From(err)
	}
	n.line(p) // whoever has gone hears nothing
}
