package invoke

import "time"

// Timing is where the time of a call went, as `pillion invoke --timing` and
// the time-out message show it. Zero means that the step did not happen or
// took no measurable time.
type Timing struct {
	Source  string // of discovery
	Resolve time.Duration
	Connect time.Duration
	TLS     time.Duration
	// Held is how long the callee's sidecar kept the call before its app
	// could take it.
	Held time.Duration
	// App is from the moment the request was handed on until the answer's
	// head came back.
	App time.Duration
	// Body is from the head to the end of the body.
	Body time.Duration
}
