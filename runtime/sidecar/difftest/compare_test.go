package difftest_test

import (
	"fmt"
	"slices"
	"strings"
)

// What docs/differences.md lists is taken out of both sides here, and nothing
// else: each rule names its heading.

// added are the fields the caller's sidecar adds ("Added").
var added = []string{
	"dapr-caller-app-id", "dapr-caller-namespace", "dapr-callee-app-id",
	"x-forwarded-for", "x-forwarded-host", "forwarded",
}

// ofOneHop are the fields that end at each hop ("Fields of one hop").
var ofOneHop = []string{
	"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
	"http2-settings", "te", "proxy-authorization", "proxy-authenticate",
}

// A view is how messages are shown for comparison.
type view struct {
	through bool
	http2   bool
	// loose takes field names without their case and sorts the lines of
	// different names ("The standard engine").
	loose bool
}

// fields are a message's lines without what the list takes out.
func (v view) fields(m *message, request bool) []string {
	lines := v.joined(unfolded(m.fields))
	if request && v.through {
		lines = v.withoutAdded(lines)
	}
	named := nominated(m.fields)
	var out []string
	for _, f := range lines {
		name, value := strings.ToLower(strings.TrimSpace(f.name)), strings.Trim(f.value, " \t")
		switch {
		case slices.Contains(ofOneHop, name), slices.Contains(named, name):
			continue
		case name == "content-length", strings.HasPrefix(name, ":"):
			continue // shown as framing, and as the first line
		case request && (name == "host" || name == "expect"):
			continue // shown apart
		case name == caseField:
			value = "…"
		case request && v.http2 && name == "grpc-timeout":
			value = "what is left of it" // "Time left"
		case strings.HasPrefix(name, "pillion-"), request && name == "dapr-app-id":
			continue // "Reserved names"
		case request && isIdentity(name):
			continue // "Reserved names"
		}
		shownName := f.name
		if v.loose || v.http2 {
			shownName = name
		}
		out = append(out, shownName+": "+value)
	}
	if v.loose {
		out = v.standard(out)
		sorted(out, request)
	}
	return out
}

// standard takes out what the standard engine does to lines.
func (v view) standard(lines []string) []string {
	var out []string
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "user-agent: ":
		case v.http2 && name == "trailer":
		case name == "trailer":
			names := strings.Split(value, ",")
			for i := range names {
				names[i] = strings.ToLower(strings.TrimSpace(names[i]))
			}
			slices.Sort(names)
			out = append(out, "trailer: "+strings.Join(names, ", "))
		case line == "cache-control: no-cache" && slices.Contains(lines, "pragma: no-cache"):
		default:
			out = append(out, line)
		}
	}
	return out
}

// sorted puts lines into the order of their names. Those of one name stay in
// theirs in a request; in an answer they may be spelled in several ways.
func sorted(lines []string, request bool) {
	if !request {
		slices.Sort(lines)
		return
	}
	name := func(line string) string { return line[:strings.IndexByte(line, ':')] }
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(name(a), name(b)) })
}

// joined makes one line of the pieces of a cookie ("Cookies").
func (v view) joined(fields []field) []field {
	var out []field
	first := -1
	for _, f := range fields {
		if v.http2 && f.name == "cookie" && first >= 0 {
			out[first].value += "; " + f.value
			continue
		}
		if f.name == "cookie" {
			first = len(out)
		}
		out = append(out, f)
	}
	return out
}

// unfolded joins folded lines ("Folded lines").
func unfolded(fields []field) []field {
	var out []field
	for _, f := range fields {
		if n := len(out); n > 0 && strings.HasPrefix(f.name, " ") {
			out[n-1].value += " " + strings.TrimSpace(f.name+f.value)
			continue
		}
		out = append(out, f)
	}
	return out
}

func isIdentity(name string) bool {
	return strings.HasPrefix(name, "dapr-caller-") || strings.HasPrefix(name, "dapr-callee-")
}

// withoutAdded takes the last line of each added name away; a name that is
// missing is shown.
func (v view) withoutAdded(lines []field) []field {
	for _, name := range added {
		found := -1
		for i, f := range lines {
			if strings.EqualFold(f.name, name) {
				found = i
			}
		}
		if found < 0 {
			lines = append(lines, field{"MISSING", name})
			continue
		}
		lines = slices.Delete(lines, found, found+1)
	}
	return lines
}

func nominated(fields []field) []string {
	var names []string
	for _, f := range fields {
		if strings.EqualFold(f.name, "connection") {
			for name := range strings.SplitSeq(f.value, ",") {
				names = append(names, strings.ToLower(strings.TrimSpace(name)))
			}
		}
	}
	return names
}

// request shows a request as an app got it.
func (v view) request(m *message) []string {
	out := append([]string{m.start}, v.fields(m, true)...)
	if n := v.count(m, "host"); n != 1 && !v.http2 && v.through {
		out = append(out, fmt.Sprintf("%d Host lines", n))
	}
	if m.has("expect") && (!v.loose || !v.http2) {
		out = append(out, "expects "+strings.ToLower(strings.TrimSpace(m.get("expect"))))
	}
	if up := m.get("upgrade"); up != "" && v.upgrades(m) {
		out = append(out, "upgrade "+strings.TrimSpace(up))
	}
	framing := v.framing(m)
	if framing == "" || framing == "stream, nothing" {
		framing = "length 0" // "Framing": a request without a body may say so
	}
	return append(append(out, "framing "+framing), v.rest(m, true)...)
}

// framing is how a message's end is known. In HTTP/2 a stream that carried
// nothing is no body ("Framing").
func (v view) framing(m *message) string {
	if m.framing == "stream" && m.end == ended && len(m.body)+len(m.trailers) == 0 {
		return "stream, nothing"
	}
	return m.framing
}

// upgrades reports whether m asks to switch protocols, h2c aside ("Upgrade: h2c").
func (v view) upgrades(m *message) bool {
	return slices.Contains(nominated(m.fields), "upgrade") && !strings.EqualFold(strings.TrimSpace(m.get("upgrade")), "h2c")
}

func (v view) count(m *message, name string) (n int) {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			n++
		}
	}
	return n
}

// answer shows an answer as the client got it.
func (v view) answer(m *message) []string {
	var out []string
	for _, i := range m.interim {
		if v.loose && v.http2 && i.start == "100" {
			continue // "The standard engine"
		}
		out = append(out, i.start)
		out = append(out, v.fields(i, false)...)
	}
	line := m.start
	if !v.loose && !v.http2 {
		line += " " + m.phrase // "The standard engine" writes its own
	}
	out = append(out, line)
	out = append(out, v.fields(m, false)...)
	if m.start == "101" {
		out = append(out, "upgrade "+strings.TrimSpace(m.get("upgrade")))
	}
	framing := v.framing(m)
	if framing == "until close" {
		framing = "chunked" // "Framing": its end can be marked now
	}
	if m.start == "204" {
		framing = "" // "Framing": it has no length
	}
	if v.loose && m.start == "304" || v.loose && v.http2 && framing == "length 0" && len(m.trailers) == 0 {
		framing = "stream, nothing" // "The standard engine"
	}
	return append(append(out, "framing "+framing), v.rest(m, false)...)
}

// rest shows what follows a head.
func (v view) rest(m *message, request bool) []string {
	out := []string{"body " + shown(m.body)}
	v.through = false // nothing is added there
	trailers := v.fields(&message{fields: m.trailers}, request)
	for _, t := range trailers {
		out = append(out, "trailer "+t)
	}
	end := m.end
	if strings.HasPrefix(end, "reset") || end == cutOff && v.http2 {
		end = "reset" // "Resets"
	}
	out = append(out, end)
	if m.end == upgraded {
		out = append(out, "tunnel "+shown(m.tunnel))
	}
	return out
}

// of shows a whole run.
func (v view) of(r *run) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for i, m := range r.requests {
		out = append(out, fmt.Sprintf("the app got request %d:", i+1))
		out = append(out, indented(v.request(m))...)
	}
	for i, m := range r.answers {
		out = append(out, fmt.Sprintf("the client got answer %d:", i+1))
		out = append(out, indented(v.answer(m))...)
	}
	if len(r.answers) == 0 {
		out = append(out, "the client got nothing")
	}
	for _, p := range r.problems {
		out = append(out, "problem: "+p)
	}
	return out
}

func indented(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = "    " + line
	}
	return out
}
