package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc; Linux says it is always this.
const tick = 10 * time.Millisecond

// A family is a process and all below it, told apart by their program: those
// that run the process's own, and the others.
type family struct {
	own, others []int
}

// familyOf finds the family of a process as it is now. The guard and the log
// keeper of pillion are its own; the app is another.
func familyOf(root int) (family, error) {
	parents, err := parentsOf()
	if err != nil {
		return family{}, err
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", root))
	if err != nil {
		return family{}, err
	}
	var f family
	for pid := range parents {
		if !below(parents, pid, root) {
			continue
		}
		switch exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); {
		case errors.Is(err, os.ErrNotExist): // just ended
		case err != nil:
			return f, err
		case exe == program:
			f.own = append(f.own, pid)
		default:
			f.others = append(f.others, pid)
		}
	}
	return f, nil
}

// parentsOf is every process's parent.
func parentsOf() (map[int]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	parents := make(map[int]int, len(stats))
	for _, name := range stats {
		text, err := os.ReadFile(name) //nolint:gosec // a name in /proc
		if err != nil {
			continue // just ended
		}
		s, err := parseStat(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		parents[s.pid] = s.parent
	}
	return parents, nil
}

// below says if pid is root or stands under it.
func below(parents map[int]int, pid, root int) bool {
	for range len(parents) {
		if pid == root {
			return true
		}
		parent, known := parents[pid]
		if !known {
			return false
		}
		pid = parent
	}
	return false
}

// A stat is what we want of /proc/<pid>/stat.
type stat struct {
	pid, parent int
	cpu         time.Duration // of all threads, also those that have ended
}

// parseStat reads /proc/<pid>/stat. The name in it may hold anything, spaces
// and parentheses too.
func parseStat(text []byte) (stat, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, errors.New("no process name")
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 13 {
		return stat{}, errors.New("too few fields")
	}
	var s stat
	var user, system int
	for _, f := range []struct {
		to   *int
		text string
	}{{&s.pid, strings.TrimSpace(string(text[:open]))}, {&s.parent, fields[1]}, {&user, fields[11]}, {&system, fields[12]}} {
		n, err := strconv.Atoi(f.text)
		if err != nil {
			return stat{}, err
		}
		*f.to = n
	}
	s.cpu = time.Duration(user+system) * tick
	return s, nil
}

// cpuOf is the CPU time of pids so far. One that has ended counts nothing.
func cpuOf(pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:gosec // a name in /proc
		if err != nil {
			continue
		}
		if s, err := parseStat(text); err == nil {
			sum += s.cpu
		}
	}
	return sum
}

// Memory is what processes hold, in bytes: resident, and of it what they share
// with nobody.
type memory struct {
	Resident, Private int64
}

func memoryOf(pids []int) memory {
	var sum memory
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)) //nolint:gosec // a name in /proc
		if err != nil {
			continue // just ended
		}
		m := parseRollup(text)
		sum.Resident += m.Resident
		sum.Private += m.Private
	}
	return sum
}

// parseRollup reads /proc/<pid>/smaps_rollup.
func parseRollup(text []byte) memory {
	var m memory
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "kB" {
			continue
		}
		kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "Rss:":
			m.Resident += kilobytes << 10
		case "Private_Clean:", "Private_Dirty:":
			m.Private += kilobytes << 10
		}
	}
	return m
}
