package supervisor

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// sorted lists processes by number.
func sorted(procs map[int]Proc) []Proc {
	return slices.SortedFunc(maps.Values(procs), func(a, b Proc) int { return cmp.Compare(a.PID, b.PID) })
}

// join names processes in one line.
func join(procs []Proc) string {
	all := make([]string, len(procs))
	for i, p := range procs {
		all[i] = p.String()
	}
	return strings.Join(all, ", ")
}
