package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ours is what the names of our functions begin with.
const ours = "github.com/pillion-dev/pillion/"

// kinds are what a room's time is spent on, by a function on the way from the
// leaf up to the room.
var kinds = []struct{ name, prefix string }{
	{"syscalls", "internal/runtime/syscall"},
	{"syscalls", "syscall."},
	{"crypto", "crypto/"},
	{"memory", "runtime.mallocgc"},
	{"memory", "runtime.newobject"},
	{"memory", "runtime.growslice"},
	{"memory", "runtime.makeslice"},
	{"memory", "runtime.gc"},
	{"memory", "runtime.bgsweep"},
	{"memory", "runtime.bgscavenge"},
	{"scheduler", "runtime.futex"},
	{"scheduler", "runtime.schedule"},
	{"scheduler", "runtime.findRunnable"},
	{"scheduler", "runtime.mcall"},
	{"scheduler", "runtime.park_m"},
	{"scheduler", "runtime.gopark"},
	{"scheduler", "runtime.ready"},
	{"scheduler", "runtime.goready"},
	{"scheduler", "runtime.wakep"},
	{"scheduler", "runtime.startm"},
	{"scheduler", "runtime.newproc"},
	{"scheduler", "runtime.chansend"},
	{"scheduler", "runtime.chanrecv"},
	{"scheduler", "runtime.selectgo"},
}

// columns are the kinds in the table's order; what is none of them is code.
var columns = []string{"code", "syscalls", "crypto", "memory", "scheduler"}

// kindOf says what a stack spends its time on: the first of the kinds from the
// leaf upwards.
func kindOf(stack []string) string {
	for _, f := range stack {
		for _, k := range kinds {
			if strings.HasPrefix(f, k.prefix) {
				return k.name
			}
		}
	}
	return "code"
}

// roomOf is the room whose time a stack is: the one of our packages nearest to
// the leaf. How much of the stack is below it comes with it.
func roomOf(stack []string) (room string, depth int) {
	for i, f := range stack {
		if rest, found := strings.CutPrefix(f, ours); found {
			return packageOf(rest), i
		}
	}
	root := stack[len(stack)-1]
	switch {
	case strings.HasPrefix(root, "runtime.gcBgMarkWorker"), strings.HasPrefix(root, "runtime.bg"):
		return "(garbage collector)", len(stack)
	case strings.HasPrefix(root, "runtime."):
		return "(scheduler)", len(stack)
	}
	return "(" + packageOf(root) + ")", len(stack)
}

// packageOf is the package in a function's name.
func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + name
}

// roomTable is the time of each room and what it went to.
func roomTable(traces []trace) string {
	spent := map[string]map[string]time.Duration{}
	var total time.Duration
	for _, t := range traces {
		room, depth := roomOf(t.stack)
		if spent[room] == nil {
			spent[room] = map[string]time.Duration{}
		}
		spent[room][kindOf(t.stack[:depth])] += t.value
		spent[room][""] += t.value
		total += t.value
	}
	t := newTable(append([]string{"room", "share"}, columns...)...)
	rooms := slices.SortedFunc(maps.Keys(spent), func(a, b string) int { return int(spent[b][""] - spent[a][""]) })
	for _, room := range rooms {
		cells := []string{room}
		for _, kind := range append([]string{""}, columns...) {
			text := ""
			if share := 100 * float64(spent[room][kind]) / float64(max(1, total)); share >= 0.05 {
				text = fmt.Sprintf("%.1f %%", share)
			}
			cells = append(cells, text)
		}
		t.row(cells...)
	}
	return t.String()
}
