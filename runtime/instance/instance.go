// Package instance is how commands talk to a running instance: HTTP over the
// instance's unix socket, which no web page and no other user can reach.
package instance

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rundir"
)

// A Phase is how far an instance is on its way out.
type Phase string

// The phases, in their order. An instance may skip some.
const (
	Running   Phase = ""
	Draining  Phase = "draining"  // calls in flight are waited for
	Signalled Phase = "signalled" // the app was asked to end
	Killing   Phase = "killing"   // what would not end is being killed
	Over      Phase = "over"      // the app has ended
)

// A Status is what an instance says of itself at one moment.
type Status struct {
	rundir.Entry
	// Calls is how many calls to the app are in flight.
	Calls int `json:"calls"`
	// Uptime is how long the instance has been there; filled in by Serve. In
	// JSON it is uptimeMs.
	Uptime time.Duration `json:"-"`
	// Requests are those the doors have read.
	Requests Requests `json:"requests"`
	Ending
}

// Requests are counts by who read them: our own engines, of HTTP/1.1 and of
// HTTP/2, the Go library's, or nobody, because it was no request that two
// parsers read in one way.
type Requests struct {
	Fast     uint64 `json:"fast"`
	HTTP2    uint64 `json:"http2"`
	Standard uint64 `json:"standard"`
	Refused  uint64 `json:"refused"`
}

// An Ending is what is known of the instance's end so far.
type Ending struct {
	Phase Phase `json:"phase,omitempty"`
	// Waiting are the processes that have not ended yet, as people are shown
	// them: name and pid, and what they ignore.
	Waiting []string `json:"waitingFor,omitempty"`
	// Killed are those that had to be killed.
	Killed []string `json:"killed,omitempty"`
	// Exit is how the app ended, such as "exit 1".
	Exit string `json:"exit,omitempty"`
}

func (e Ending) equal(o Ending) bool {
	return e.Phase == o.Phase && e.Exit == o.Exit && slices.Equal(e.Waiting, o.Waiting) && slices.Equal(e.Killed, o.Killed)
}

// Control is the instance as Serve sees it. Its methods are called
// concurrently and return at once.
type Control interface {
	// Status is asked often while the instance is being stopped. Slices it
	// returns are not changed afterwards.
	Status() Status
	// Stop begins to stop the instance: gracefully, or at once if now. Asking
	// again is not an error.
	Stop(ctx context.Context, now bool) error
}

// A Restarter is a Control that can replace its app's process.
type Restarter interface {
	// Restart returns once the new process is ready, or says why there is none.
	// The end of ctx ends the wait and not what is under way. It is called
	// concurrently, and bounds its wait itself.
	Restart(ctx context.Context) error
}

// NotRun is the error of a restart where there is no process to replace.
func NotRun(app string) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.Usage, What: app + "'s app is not run by pillion",
		Cause: "its sidecar was started alone",
		Hint:  "restart the app where it was started: its sidecar waits for it",
	}
}

// A Progress is one line of the answer to a request to stop or to restart.
type Progress struct {
	// State is the entry's.
	State  string        `json:"state,omitempty"`
	Calls  int           `json:"calls"`
	Took   time.Duration `json:"-"`
	TookMS int64         `json:"tookMs"`
	Ending
	// Finished is how many calls came to their end while the instance was
	// stopped. It is said in the last line only.
	Finished int `json:"finished,omitempty"`
	// Error is why the app was not restarted, and Restarts how often it has
	// been. They are said in the last line only.
	Error    *apperr.Error `json:"error,omitempty"`
	Restarts int           `json:"restarts,omitempty"`
	// Last is true in the last line of an answer that is whole.
	Last bool `json:"last,omitempty"`
}

// MarshalJSON writes s flat: the keys of the entry, and its own.
func (s Status) MarshalJSON() ([]byte, error) {
	type plain Status // without this method
	return json.Marshal(struct {
		plain
		UptimeMS int64 `json:"uptimeMs"`
	}{plain(s), s.Uptime.Milliseconds()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Status) UnmarshalJSON(data []byte) error {
	type plain Status
	var wire struct {
		plain
		UptimeMS int64 `json:"uptimeMs"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*s = Status(wire.plain)
	s.Uptime = time.Duration(wire.UptimeMS) * time.Millisecond
	return nil
}

// silent is the error of an instance that lives and does not answer.
func silent(e rundir.Entry, cause string, err error) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.PeerUnreachable,
		Hop:    apperr.HopSidecar,
		What:   e.App + "'s sidecar does not answer",
		Cause:  cause,
		Err:    err,
	}
}
