package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/runtime/config"
)

// An operation is one rule of a caller's.
type operation struct {
	name   string
	verbs  []string // nil for an app without verbs
	action string
	at     string
}

// decide is what o says of a verb; of an app without verbs, of any.
func (o *operation) decide(verb string, http bool) (action string, decided bool) {
	return o.action, !http || slices.Contains(o.verbs, verb) || verb != "" && slices.Contains(o.verbs, "*")
}

func (o *operation) says() string {
	if o.action == "" {
		return "no action, which is deny"
	}
	return o.action
}

// doubts are what somebody who wrote o may not have meant.
func (o *operation) doubts(given config.AccessOperation) []string {
	out := doubtful(given.At, "action", given.Action)
	if given.Action == "" {
		out = append(out, given.At+": the operation "+o.name+" has no action, and counts as deny")
	}
	for _, v := range o.verbs {
		if v != strings.ToUpper(v) {
			out = append(out, fmt.Sprintf("%s: httpVerb %q is no call's: methods are %s", given.At, v, strings.ToUpper(v)))
		}
	}
	return out
}

// witness is a path that o is meant for.
func (o *operation) witness() string {
	if rest, any := strings.CutSuffix(o.name, "/**"); any {
		return rest + "/x"
	}
	path := strings.ReplaceAll(strings.ReplaceAll(o.name, "/*/", "/x/"), "*", "x")
	return "/" + strings.Trim(path, "/") // as clean paths are
}

// A node is a segment of paths, or a pattern of one, and what is below it: the
// tree that Dapr looks operations up in. The order of its nodes counts: of those
// beside each other, the first that fits is taken, and there is no way back.
type node struct {
	segment   string
	operation *operation
	below     []*node
}

// put enters an operation. Of two for one path the first counts.
func (n *node) put(o *operation) {
	for segment := range strings.SplitSeq(o.name[1:], "/") {
		at := slices.IndexFunc(n.below, func(one *node) bool { return one.segment == segment })
		if at < 0 {
			n.below = append(n.below, &node{segment: segment})
			at = len(n.below) - 1
		}
		n = n.below[at]
	}
	if n.operation == nil {
		n.operation = o
	}
}

// search is the operation for a path, or nil. It is the one of the first node on
// the way that has one, so that /a is for /a/b as well.
func (n *node) search(path string) *operation {
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if n = n.find(segment, !more); n == nil {
			return nil
		}
		if n.operation != nil && (!more || n.segment != "*") {
			return n.operation
		}
	}
	if n = n.find("*", true); n != nil {
		return n.operation // /a/* is for /a as well
	}
	return nil
}

// find is the first node below n that fits a segment; * fits only the last one
// of a path.
func (n *node) find(segment string, last bool) *node {
	for _, one := range n.below {
		switch {
		case one.segment == segment:
			return one
		case one.segment == "*":
			if last {
				return one
			}
		case one.segment == "**" || fits(one.segment, segment):
			return one
		}
	}
	return nil
}

// fits reports whether a pattern, in which * is any text, stands for s.
func fits(pattern, s string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for {
		part, more, another := strings.Cut(rest, "*")
		if !another {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(part):], more
	}
}
