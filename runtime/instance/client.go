package instance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/internal/rundir"
)

const (
	// patience is how long an instance may say nothing: it sends a line each
	// second. One that is frozen says nothing.
	patience = 10 * time.Second
	// startTime is how long an instance that has just been registered may take
	// to open its socket.
	startTime = 5 * time.Second
	// exitTime is how long an instance may take from its last line to its end.
	exitTime = 30 * time.Second

	// closingTime is how long a process that is killed may take to close its
	// files, which on a machine with too much to do is not at once.
	closingTime = 5 * time.Second

	maxAnswer = 1 << 20
	maxLine   = 1 << 20
	pollEvery = 10 * time.Millisecond
)

// An Ended is how an instance ended.
type Ended struct {
	// Took is from the request to the moment the instance was gone.
	Took time.Duration
	// Calls is how many calls came to their end meanwhile.
	Calls int
	// Killed are the processes that had to be killed, as people are shown them.
	Killed []string
	// Exit is how the app ended, such as "exit 0"; empty if the instance was
	// gone before it could say.
	Exit string
}

// A Client talks to one instance. It holds nothing open and is safe for
// concurrent use.
type Client struct {
	// Progress is told each line while Stop or Restart waits; it must not block for long.
	// Nil: nobody is. Set it before the first call.
	Progress func(Progress)

	entry rundir.Entry
	http  *http.Client
}

// Dial makes a client of the instance e was read of. It connects to nothing
// yet.
func Dial(e rundir.Entry) *Client {
	return &Client{entry: e, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.Socket)
		},
		DisableKeepAlives:      true,
		ResponseHeaderTimeout:  patience,
		MaxResponseHeaderBytes: maxHead,
	}}}
}

// Status asks the instance what it is. An instance that has ended is
// apperr.NoSuchApp; one that does not answer within 10 s an error too.
func (c *Client) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
	defer cancel()
	body, err := c.ask(ctx, http.MethodGet, "/v1/status")
	if err != nil {
		return Status{}, err
	}
	defer func() { _ = body.Close() }() // only read
	var s Status
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&s); err != nil {
		return Status{}, c.failed(ctx, err)
	}
	return s, nil
}

// Stop stops the instance, gracefully or at once, and waits until it is gone:
// no process of it is left and no list shows it. An instance that was gone
// already has ended, without an error. It waits as long as the instance says
// that it is alive, until ctx ends.
func (c *Client) Stop(ctx context.Context, now bool) (Ended, error) {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer watch.Stop()

	body, err := c.ask(ctx, http.MethodPost, "/v1/stop?"+url.Values{"now": {fmt.Sprint(now)}}.Encode())
	if apperr.Is(err, apperr.NoSuchApp) {
		return Ended{Took: time.Since(began)}, nil
	}
	if err != nil {
		if c.goneSoon(ctx) { // it was on its way out already
			return Ended{Took: time.Since(began)}, nil
		}
		return Ended{}, err
	}
	defer func() { _ = body.Close() }() // only read
	last, err := c.follow(body, func() { watch.Reset(patience) })
	if err != nil && !c.goneSoon(ctx) {
		return Ended{}, c.failed(ctx, err)
	}
	watch.Stop()
	if err := c.awaitEnd(ctx); err != nil {
		return Ended{}, err
	}
	return Ended{Took: time.Since(began), Calls: last.Finished, Killed: last.Killed, Exit: last.Exit}, nil
}

// errSilent is the cause of a wait that was given up because nothing came.
var errSilent = errors.New("it says nothing")

// follow reads lines until the last one. What was killed or known of the exit
// in a line before counts also if the end is missing.
func (c *Client) follow(body io.Reader, alive func()) (Progress, error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	var last Progress
	for lines.Scan() {
		alive()
		var p Progress
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return last, err
		}
		p.Took = time.Duration(p.TookMS) * time.Millisecond
		if c.Progress != nil {
			c.Progress(p)
		}
		last = p
		if p.Last {
			return last, nil
		}
	}
	if err := lines.Err(); err != nil {
		return last, err
	}
	return last, io.ErrUnexpectedEOF
}

// ask sends one request; an instance that is just starting gets the time to
// open its socket. The body is the caller's to close.
func (c *Client) ask(ctx context.Context, method, target string) (io.ReadCloser, error) {
	starting := time.Now()
	for {
		body, err := c.once(ctx, method, target)
		var op *net.OpError
		if err == nil || !errors.As(err, &op) || op.Op != "dial" {
			return body, err
		}
		if c.gone() {
			return nil, &apperr.Error{Reason: apperr.NoSuchApp, What: c.entry.App + " has ended", Err: err}
		}
		if ctx.Err() != nil || time.Since(starting) > startTime {
			return nil, c.failed(ctx, err)
		}
		if !sleep(ctx, pollEvery) {
			return nil, c.failed(ctx, context.Cause(ctx))
		}
	}
}

func (c *Client) once(ctx context.Context, method, target string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://instance"+target, nil)
	if err != nil {
		return nil, err
	}
	got, err := c.http.Do(r)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, err
		}
		return nil, c.failed(ctx, err)
	}
	if got.StatusCode == http.StatusOK {
		return got.Body, nil
	}
	defer func() { _ = got.Body.Close() }() // only read
	refused := new(apperr.Error)
	if json.NewDecoder(io.LimitReader(got.Body, maxAnswer)).Decode(refused) != nil || refused.What == "" {
		return nil, silent(c.entry, "it answered "+got.Status, nil)
	}
	return nil, refused
}

// failed says why an instance that lives gave no answer, or that it lives no
// more.
func (c *Client) failed(ctx context.Context, err error) error {
	var timeout net.Error
	switch {
	case c.gone():
		return &apperr.Error{Reason: apperr.NoSuchApp, What: c.entry.App + " has ended", Err: err}
	case errors.Is(context.Cause(ctx), errSilent), errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil:
		return silent(c.entry, fmt.Sprintf("nothing came from process %d for %s", c.entry.PID, patience), err)
	case ctx.Err() != nil:
		return fmt.Errorf("wait for %s: %w", c.entry.App, context.Cause(ctx))
	default:
		return silent(c.entry, c.seen(err), err)
	}
}

// seen is what was observed of an instance that could not be talked to.
func (c *Client) seen(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("its socket %s is gone, process %d lives", c.entry.Socket, c.entry.PID)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nobody listens on its socket %s, process %d lives", c.entry.Socket, c.entry.PID)
	default:
		return err.Error()
	}
}

// gone reports whether the instance has ended.
func (c *Client) gone() bool {
	if c.entry.Lock == "" {
		return false
	}
	held, err := filelock.Held(c.entry.Lock)
	return err == nil && !held
}

// goneSoon is gone with a moment's patience: the sockets of a process that is
// killed may close before its lock is free.
func (c *Client) goneSoon(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, closingTime)
	defer cancel()
	for !c.gone() {
		if !sleep(ctx, pollEvery) {
			return false
		}
	}
	return true
}

// awaitEnd waits for the end of the process that has said its last word.
func (c *Client) awaitEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, exitTime, errSilent)
	defer cancel()
	for !c.gone() {
		if !sleep(ctx, pollEvery) {
			if errors.Is(context.Cause(ctx), errSilent) {
				return silent(c.entry, fmt.Sprintf("the app has ended, process %d of its sidecar has not", c.entry.PID), nil)
			}
			return fmt.Errorf("wait for %s: %w", c.entry.App, context.Cause(ctx))
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
