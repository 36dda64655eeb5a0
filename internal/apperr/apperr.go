// Package apperr is the one way pillion says that something could not be done:
// what, at which hop, why, and what to do next. Every door renders the same
// Error in its own form, and every exit status comes from the same table.
package apperr

import (
	"encoding/json"
	"errors"
	"strings"
)

// A Hop is a place on the way of a call, from the caller's app to the callee's.
type Hop string

// The hops, in the order a call passes them.
const (
	HopCaller    Hop = "caller"
	HopSidecar   Hop = "sidecar"
	HopDiscovery Hop = "discovery"
	HopNetwork   Hop = "network"
	HopTLS       Hop = "tls"
	HopAccess    Hop = "access"
	HopPeer      Hop = "peer"
	HopApp       Hop = "app"
)

// Hops lists the hops in the order a call passes them.
var Hops = []Hop{HopCaller, HopSidecar, HopDiscovery, HopNetwork, HopTLS, HopAccess, HopPeer, HopApp}

// Reached says whether a failed call may have been handed to the app.
// Its zero value is the careful one.
type Reached uint8

const (
	// ReachedMaybe means that the app may have seen the call, so it must not
	// be repeated unless repeating it is harmless.
	ReachedMaybe Reached = iota
	// ReachedNo means proof that no byte of the call was handed to the app.
	ReachedNo
)

// String is the word used on the wire and in details: "no" or "maybe".
func (r Reached) String() string {
	if r == ReachedNo {
		return "no"
	}
	return "maybe"
}

// An Error is something that could not be done. It is a value to be built
// where the cause is known and rendered at a door; it is never changed after
// it has been returned.
type Error struct {
	Reason Reason
	// What is the sentence for a person: it names the user's thing first and
	// survives alone. Lower case, no full stop.
	What string
	// Dapr is the inner text Dapr gives for this failure, where it has one.
	// Doors that speak Dapr show it in place of What.
	Dapr string
	// Cause is what was observed, with numbers; Hint is one command or one
	// sentence with one. Either may be empty.
	Cause string
	Hint  string
	// Run is the hint as a command line, where it is one.
	Run []string
	// Hop overrides the reason's own hop. Empty means the reason's.
	Hop Hop
	// Reached says whether the app may have seen the call.
	Reached Reached
	// Instance is the instance that was tried, if one was.
	Instance string
	// Attempts is how many instances or times were tried; 0 and 1 are not said.
	Attempts int
	// Err is the error underneath, for errors.Is and for the debug log. It is
	// not shown and does not cross the mesh.
	Err error
}

// Error is What, the cause and the hint in one line.
func (e *Error) Error() string { return line(e.What, e.Cause, e.Hint) }

// Message is the one line that must do for clients that show nothing else:
// Dapr's words first, ours behind them.
func (e *Error) Message() string {
	text := e.Dapr
	if text == "" {
		text = e.What
	}
	return line(text, e.Cause, e.Hint)
}

// line joins text, cause and hint. A text that already holds a colon gets the
// rest in brackets, so that the line has one colon a level. What the text says
// already is not said twice.
func line(text, cause, hint string) string {
	var rest []string
	for _, s := range []string{cause, hint} {
		if s != "" && !strings.Contains(text, s) {
			rest = append(rest, s)
		}
	}
	joined := strings.Join(rest, "; ")
	switch {
	case joined == "":
		return text
	case strings.Contains(text, ": "):
		return text + " (" + joined + ")"
	default:
		return text + ": " + joined
	}
}

func (e *Error) Unwrap() error { return e.Err }

// At is the hop the call failed at.
func (e *Error) At() Hop {
	if e.Hop != "" {
		return e.Hop
	}
	return e.Reason.row().hop
}

// From returns the Error in err's chain. An error nobody marked is ours to
// mend: it comes back with reason Internal and what it says as its sentence.
// From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: Internal, What: "internal: " + err.Error(), Err: err}
}

// Is reports whether err carries the reason.
func Is(err error, reason Reason) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == reason
}

// wire is an Error as it crosses the mesh.
type wire struct {
	Reason   Reason   `json:"reason"`
	What     string   `json:"what,omitempty"`
	Dapr     string   `json:"dapr,omitempty"`
	Cause    string   `json:"cause,omitempty"`
	Hint     string   `json:"hint,omitempty"`
	Run      []string `json:"run,omitempty"`
	Hop      Hop      `json:"hop,omitempty"`
	Reached  string   `json:"reached"`
	Instance string   `json:"instance,omitempty"`
}

// MarshalJSON writes e as it crosses the mesh: everything but Err.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{
		Reason: e.Reason, What: e.What, Dapr: e.Dapr, Cause: e.Cause, Hint: e.Hint,
		Run: e.Run, Hop: e.Hop, Reached: e.Reached.String(), Instance: e.Instance,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote. A reason this version does not
// know becomes Internal; anything but an explicit "no" has maybe reached.
func (e *Error) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if _, known := table[w.Reason]; !known {
		w.Reason = Internal
	}
	*e = Error{
		Reason: w.Reason, What: w.What, Dapr: w.Dapr, Cause: w.Cause, Hint: w.Hint,
		Run: w.Run, Hop: w.Hop, Instance: w.Instance,
	}
	if w.Reached == "no" {
		e.Reached = ReachedNo
	}
	return nil
}
