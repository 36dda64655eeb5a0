// Package gitignore reads what .gitignore files say, as git does.
package gitignore

import (
	"slices"
	"strings"
)

// Rules are those of one file. They are never changed.
type Rules []rule

// A rule is one line.
type rule struct {
	pattern string
	negated bool // it takes back what an earlier one ignores
	folder  bool // only for folders
	name    bool // for a name in any folder below; else for the whole path
	literal int  // how much of the pattern stands for itself
}

// Parse reads the text of a file. No line is an error.
func Parse(text string) Rules {
	var out Rules
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line, _ = strings.CutSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = trimSpaces(strings.TrimSuffix(line, "\r"))
		if line != "" {
			out = append(out, parse(line))
		}
	}
	return out
}

func parse(line string) rule {
	var r rule
	line, r.negated = strings.CutPrefix(line, "!")
	line, r.folder = strings.CutSuffix(line, "/")
	r.name = !strings.Contains(line, "/")
	r.pattern = strings.TrimPrefix(line, "/")
	r.literal = strings.IndexAny(r.pattern, `*?[\`)
	if r.literal < 0 {
		r.literal = len(r.pattern)
	}
	return r
}

// trimSpaces removes spaces at the end that are not escaped.
func trimSpaces(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			continue
		case '\\':
			i++
		}
		end = min(i+1, len(line))
	}
	return line[:end]
}

// A Verdict is what rules say of a path.
type Verdict int

const (
	// Unsaid is that of a path no rule speaks of.
	Unsaid Verdict = iota
	// Ignored is that of a path that does not count.
	Ignored
	// Kept is that of a path that counts although other rules ignore it.
	Kept
)

// Judge returns what r says of a path with slashes, relative to the folder the
// rules are of; the last rule that matches counts. dir says that it is a folder.
// What is in an ignored folder is ignored too: whoever walks does not go in.
func (r Rules) Judge(path string, dir bool) Verdict {
	for _, one := range slices.Backward(r) {
		if !one.matches(path, dir) {
			continue
		}
		if one.negated {
			return Kept
		}
		return Ignored
	}
	return Unsaid
}

func (r rule) matches(path string, dir bool) bool {
	if r.folder && !dir {
		return false
	}
	if r.name {
		name := path[strings.LastIndexByte(path, '/')+1:]
		if r.literal == len(r.pattern) {
			return name == r.pattern
		}
		return match(r.pattern, name, false)
	}
	// As in git, what stands for itself is compared first, and what follows is
	// a pattern of its own: in "a**", two stars then begin it.
	rest, ok := strings.CutPrefix(path, r.pattern[:r.literal])
	return ok && match(r.pattern[r.literal:], rest, true)
}
