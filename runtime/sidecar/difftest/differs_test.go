package difftest_test

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
)

// differs checks a documented difference, which a case names:
//
//	refused 400 501       the door answers one of these by itself; the app gets nothing
//	broken                the request breaks off where it is broken: no app takes it for whole
//	origin                the target loses its authority: the app gets a path
//	error APP_GONE 500    pillion answers instead of the app, and says so
//	amount                the request breaks off: how much of it the app still gets is open
//	halfclosed            a client that closes its direction has gone
//	halfclosed later      the same, where its answer did not come at once
//	unsent                nobody sent the body: how that looks to the app is open
//	no100                 100 Continue, which the app did not send, is the door's
//	unannounced           HTTP/2 trailers nobody announced do not cross
//	early                 the app did not wait for the request's end: how much of it it gets is open
func differs(which string, r *run, v view, want []string) string {
	kind, arg, _ := strings.Cut(which, " ")
	switch kind {
	case "refused":
		return refused(arg, r)
	case "broken":
		return broken(arg, r)
	case "origin":
		return cmp.Diff(inOriginForm(want), v.of(r))
	case "error":
		return failed(arg, r, v, want)
	case "amount":
		return cmp.Diff(without(want, "    body"), without(v.of(r), "    body"))
	case "halfclosed":
		if arg == "later" && r.took < goneAfter {
			return cmp.Diff(want, v.of(r))
		}
		return halfClosed(r)
	case "early":
		return cmp.Diff(answersOf(want), answersOf(v.of(r)))
	case "unsent":
		got := v.of(r)
		if r.took > continueWait { // on a busy machine: the app may have been sent the body
			got = without(got, "    100")
		}
		return cmp.Diff(answersOf(want), answersOf(got))
	case "no100":
		return cmp.Diff(want, without(v.of(r), "    100"))
	case "unannounced":
		if !v.http2 {
			return cmp.Diff(want, v.of(r))
		}
		return cmp.Diff(without(want, "    trailer x-sum: abc"), v.of(r))
	default:
		return "no documented difference is called " + kind
	}
}

// last is the run's last answer, nil if there is none.
func (r *run) last() *message {
	if len(r.answers) == 0 {
		return nil
	}
	return r.answers[len(r.answers)-1]
}

// takesNoApp reports whether a difference is about what is not for an app, so
// that there is nothing to compare with.
func takesNoApp(which string) bool {
	kind, _, _ := strings.Cut(which, " ")
	return kind == "refused" || kind == "broken"
}

// closes reports whether the connection has to end behind a refusal: what
// follows cannot be trusted.
func closes(which string) bool {
	return strings.HasPrefix(which, "refused 400") || which == "broken"
}

func broken(also string, r *run) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.requests {
		if m.end == ended {
			return "the app got a whole request"
		}
	}
	if last := r.last(); last != nil && !slices.Contains([]string{"", "400", also}, last.start) {
		return "want 400 or nothing"
	}
	if !r.closed {
		return "the connection stays open"
	}
	return ""
}

var authority = regexp.MustCompile(`^( *[A-Z]+) http://[^/]+`)

func inOriginForm(lines []string) []string {
	out := slices.Clone(lines)
	for i := range out {
		out[i] = authority.ReplaceAllString(out[i], "$1 ")
	}
	return out
}

func refused(statuses string, r *run) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.last()
	switch {
	case got != nil && r.at.http2() && got.end == "reset PROTOCOL_ERROR" && len(r.requests) == 0:
		return "" // RFC 9113 §8.1.1: a malformed request may be answered so
	case got == nil || !slices.Contains(strings.Fields(statuses), got.start) || got.end != ended:
		return "want an answer " + statuses
	case len(r.requests) > 0:
		return "the app got a request"
	}
	return ""
}

// failed checks that pillion says what went wrong, and that the app got what
// it would have got.
func failed(arg string, r *run, v view, want []string) string {
	reason, status, _ := strings.Cut(arg, " ")
	got := v.of(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last()
	switch {
	case last == nil || last.get("pillion-error") != reason && (&message{fields: last.trailers}).get("pillion-error") != reason:
		return "want an error of pillion's: " + reason
	case status != "" && last.start != status:
		return "want the status " + status
	}
	return cmp.Diff(requestsOf(want), requestsOf(got))
}

// without is lines but those that begin so.
func without(lines []string, begin string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, begin) })
}

// goneAfter is how long a client that closes its direction counts as there.
const goneAfter = 20 * time.Millisecond

func halfClosed(r *run) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.last(); last != nil && last.get("pillion-error") == "" && last.start != "200" {
		return "want an error, nothing, or the answer if it was faster"
	}
	return ""
}

// answersOf is the part of a view that is about answers.
func answersOf(lines []string) []string { return lines[len(requestsOf(lines)):] }

// requestsOf is the part of a view that is about requests.
func requestsOf(lines []string) []string {
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "the client got") })
	if i < 0 {
		return lines
	}
	return lines[:i]
}
