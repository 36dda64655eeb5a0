// Package near finds the name somebody meant: the one within a few edits, or
// the one it is the beginning of.
package near

import "strings"

// maxEdits is how far a mistyped name may be from the right one.
const maxEdits = 2

// Match returns the name among those given that is nearest to name: the fewest
// edits, at most two and fewer than name has letters, or else the only name
// that begins with it. It returns "" if nothing is near enough. An exact match
// is not a mistake and is not returned.
func Match(name string, among []string) string { return match(name, among, maxEdits) }

// lettersPerEdit is how many letters of a name one edit takes where there are
// many to choose from.
const lettersPerEdit = 4

// MatchMany is Match where thousands of names lie close together, as those of
// the programs in PATH do: one edit for each four letters, or else every word
// would be another one mistyped. A name of three letters may have one, too.
func MatchMany(name string, among []string) string {
	edits := min(maxEdits, len(name)/lettersPerEdit)
	if len(name) == lettersPerEdit-1 {
		edits = 1
	}
	return match(name, among, edits)
}

func match(name string, among []string, edits int) string {
	best, bestEdits := "", edits+1
	for _, other := range among {
		if other == name {
			continue
		}
		if d := Edits(name, other); d < bestEdits && d < len(name) && d < len(other) {
			best, bestEdits = other, d
		}
	}
	if best != "" {
		return best
	}
	for _, other := range among {
		if len(name) < 2 || len(other) <= len(name) || !strings.EqualFold(other[:len(name)], name) {
			continue
		}
		if best != "" {
			return "" // the beginning of two: neither is guessed
		}
		best = other
	}
	return best
}

// Edits is the number of letters to insert, delete, replace or swap with their
// neighbour to make b of a, letter case aside.
func Edits(a, b string) int {
	from, to := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	before := make([]int, len(to)+1)
	last := make([]int, len(to)+1)
	row := make([]int, len(to)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(from); i++ {
		row[0] = i
		for j := 1; j <= len(to); j++ {
			cost := 1
			if from[i-1] == to[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && from[i-1] == to[j-2] && from[i-2] == to[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(to)]
}
