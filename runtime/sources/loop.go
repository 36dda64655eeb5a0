package sources

import (
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/pillion-dev/pillion/runtime/filewatch"
)

const (
	// rounds is after how many starts in a row the same files must change.
	rounds = 5
	// soon is how long after a start a change may be of the start's making, and
	// atOnce how long for what people write: somebody who saves, looks, and saves
	// again is no loop.
	soon   = 10 * time.Second
	atOnce = 2 * time.Second
)

// A loop watches for files that change after every start of the app, as those do
// that the app writes itself: each would start it anew for ever.
type loop struct {
	round  int             // counts the starts
	began  time.Time       // this round
	told   map[string]bool // of this round, by shape
	late   bool            // something of it changed by itself
	common map[string]bool // what has changed in each of the last rounds
	times  int             // how many rounds those are
	closed map[string]*closed
}

// A closed is a file that no longer counts.
type closed struct {
	round  int  // in which it changed last
	opened bool // it has counted again once
	now    bool // it does not count
}

// numbers are what programs make names of.
var numbers = regexp.MustCompile(`[0-9a-fA-F]{8}[0-9a-fA-F-]*|[0-9]+`)

// shape is the same for names that differ in their numbers, and for files that
// came or went in one folder, with one ending: programs make such names anew.
func shape(c filewatch.Change) string {
	name := c.Path
	if c.Before.There != c.After.There && !isCode(name) {
		name = path.Dir(name) + "/*" + path.Ext(name)
	}
	return numbers.ReplaceAllString(name, "#")
}

// restarted says that a round begins.
func (l *loop) restarted(now time.Time) {
	switch {
	case l.late:
		l.common, l.times = nil, 0
	case len(l.told) == 0:
		// It was over before anything could be seen, or a person ended it.
	case l.common == nil:
		l.common, l.times = l.told, 1
	default:
		common := map[string]bool{}
		for name := range l.told {
			if l.common[name] {
				common[name] = true
			}
		}
		if l.times++; len(common) == 0 {
			common, l.times = l.told, 1
		}
		l.common = common
	}
	l.round++
	l.began, l.told, l.late = now, nil, false
}

// judge returns those of the changed files that still count, and those that do
// not any more from now on.
func (l *loop) judge(changes []filewatch.Change, byBuild bool, now time.Time) (count, loops []string) {
	since := now.Sub(l.began)
	isLate := func(c filewatch.Change) bool { return !byBuild && !isEarly(c.Path, since) }
	changes = slices.DeleteFunc(changes, func(c filewatch.Change) bool { return l.isClosed(c, !isLate(c)) })
	if len(changes) == 0 {
		return nil, nil
	}
	early := !slices.ContainsFunc(changes, isLate)
	if l.round > 0 && early && l.times >= rounds-1 && l.all(changes) {
		for _, c := range changes {
			l.close(shape(c))
		}
		return nil, namesIn(changes)
	}
	if l.told == nil {
		l.told = map[string]bool{}
	}
	for _, c := range changes {
		l.told[shape(c)] = true
	}
	l.late = l.late || !early || l.round == 0
	return namesIn(changes), nil
}

func namesIn(changes []filewatch.Change) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.Path
	}
	return out
}

// isEarly reports whether a file that changed so long after a start may have
// because of it.
func isEarly(name string, since time.Duration) bool {
	if isCode(name) {
		return since <= atOnce
	}
	return since <= soon
}

// all reports whether all the files changed in each of the last rounds.
func (l *loop) all(changes []filewatch.Change) bool {
	return !slices.ContainsFunc(changes, func(c filewatch.Change) bool { return !l.common[shape(c)] })
}

func (l *loop) close(shape string) {
	if l.closed == nil || len(l.closed) > maxFiles {
		l.closed = map[string]*closed{}
	}
	c := l.closed[shape]
	if c == nil {
		c = &closed{}
		l.closed[shape] = c
	}
	c.now, c.round = true, l.round
}

// has reports whether a file does not count any more.
func (l *loop) has(change filewatch.Change) bool {
	c := l.closed[shape(change)]
	return c != nil && c.now
}

// isClosed reports whether a changed file does not count. One that changes again
// without a start has not changed because of one: it counts again. Only once,
// since the app may write it now and then; what people write, always.
func (l *loop) isClosed(change filewatch.Change, early bool) bool {
	c := l.closed[shape(change)]
	if c == nil || !c.now {
		return false
	}
	again := c.round == l.round
	c.round = l.round
	if again && (isCode(change.Path) || !early && !c.opened) {
		c.now, c.opened = false, true
		l.common, l.times, l.late = nil, 0, true
		return false
	}
	return true
}

// code are the endings of what people write, and programs hardly ever.
var code = []string{
	".go", ".py", ".rb", ".php", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".vue", ".svelte", ".astro",
	".java", ".kt", ".kts", ".scala", ".groovy", ".clj", ".cs", ".fs", ".vb", ".cshtml", ".razor", ".rs", ".zig", ".c", ".h",
	".cc", ".cpp", ".hpp", ".swift", ".dart", ".ex", ".exs", ".erl", ".hs", ".ml", ".lua", ".jl", ".r", ".pl", ".sh",
	".html", ".css", ".scss", ".less", ".sql", ".proto", ".graphql", ".mod",
}

func isCode(name string) bool { return slices.Contains(code, path.Ext(name)) }
