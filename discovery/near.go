package discovery

import (
	"slices"
	"strings"
)

const (
	// nearEdits is how many slips of the finger are taken for a typing error.
	nearEdits = 2
	// nearPrefix is how much two names must share at their beginning before
	// anything else counts.
	nearPrefix = 3
)

// nearest returns the name most like app, or "" if none is like it.
func nearest(app string, names []string) string {
	best, least := "", -1
	for _, name := range names {
		edits, alike := resemblance(strings.ToLower(app), strings.ToLower(name))
		if alike && name != app && (least < 0 || edits < least) {
			best, least = name, edits
		}
	}
	return best
}

// resemblance is the number of edits between two names, and whether one may
// stand for the other: a typing error, one the beginning of the other, or the
// same beginning and at most two fifths different (notify-service,
// notification-service).
func resemblance(a, b string) (edits int, alike bool) {
	edits = distance(a, b)
	longer, shared := max(len(a), len(b)), commonPrefix(a, b)
	switch {
	case edits <= nearEdits && 2*edits < longer:
		return edits, true
	case shared < nearPrefix:
		return edits, false
	}
	return edits, shared == min(len(a), len(b)) || 5*edits <= 2*longer
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// distance counts the letters to insert, remove, change or swap with their
// neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// Near returns the apps that run in key's namespace, in order, and the one
// among them that is nearest to key, or "".
func (r *Resolver) Near(key Key) (running []string, near string) {
	since, last := int64(r.elapsed()), r.browsed.Load()
	if since-last > int64(tableAge) && r.browsed.CompareAndSwap(last, since) {
		r.refresh() // the dead are not to be suggested
	}
	for _, s := range r.sources {
		browser, ok := s.(Browser)
		if !ok {
			continue
		}
		for _, e := range browser.All() {
			if e.Namespace == key.Namespace && e.App != "" {
				running = append(running, e.App)
			}
		}
	}
	slices.Sort(running)
	running = slices.Compact(running)
	return running, nearest(key.App, running)
}
