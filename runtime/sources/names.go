package sources

import (
	"slices"
	"strings"
)

// names are patterns of names, in a form in which looking one up is cheap: every
// file is asked about at every look.
type names struct {
	whole    map[string]bool
	patterns [][]string // what stands between the stars
}

// namesOf are the names that patterns with * stand for.
func namesOf(patterns ...string) names {
	n := names{whole: map[string]bool{}}
	for _, pattern := range patterns {
		if parts := strings.Split(pattern, "*"); len(parts) > 1 {
			n.patterns = append(n.patterns, parts)
		} else {
			n.whole[pattern] = true
		}
	}
	return n
}

// have reports whether name is one of them.
func (n names) have(name string) bool {
	return n.whole[name] || slices.ContainsFunc(n.patterns, func(parts []string) bool { return fits(name, parts) })
}

// fits reports whether name is the parts with anything between them.
func fits(name string, parts []string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = rest
	}
	return true
}
